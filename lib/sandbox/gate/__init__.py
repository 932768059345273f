"""The gate: a small process beside each run that serves what the run may reach.

A worker has no network but its own loopback. Listeners that were bound there
are held outside, and the gate answers on them: one forwards the few calls that
a run may make to the server, the other is the egress proxy. It outlives the
server, as the run's supervisor does, and ends with the supervisor.

Standard library only. What comes from the worker is hostile, and so is what
comes from the network: every head is capped, every wait has an end, and nothing
is dialled that `policy` has not pinned.
"""
