"""The module that a real gate's process is told to use as its network."""

from tests.lib.sandbox.gate.internet import Internet

internet = Internet()
resolve = internet.resolve
is_own = internet.is_own
dial = internet.dial
