"""Starting a worker's process, watching it, and ending all of it.

`zygote`, `supervisor` and what they import (`process_tree`, `log_keeper`,
`wire`, `linux`) run in an isolated interpreter of their own: standard library
only.

`confinement` puts a process into namespaces, a root of its own, Landlock and
seccomp; `probe` tells which of them this host has. Runs are not started through
them yet.
"""
