"""Runs: their state machine, what they take and give, and the engine that executes them."""
