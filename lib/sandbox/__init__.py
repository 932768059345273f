"""Starting a worker's process, watching it, and ending all of it.

`zygote`, `supervisor` and what they import (`process_tree`, `log_keeper`,
`wire`, `linux`) run in an isolated interpreter of their own: standard library
only.
"""
