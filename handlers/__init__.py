"""The HTTP and event edge: one Falcon resource module per endpoint group."""
