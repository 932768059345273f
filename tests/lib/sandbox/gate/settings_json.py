"""How a gate's settings get to a test's process: as JSON of `asdict`."""

from lib.sandbox.gate.settings import GateSettings


def load(values):
    """Return the settings that these values were made of."""
    lists = {
        name: None if values[name] is None else tuple(values[name]) for name in ("allow", "trusted")
    }
    return GateSettings(**{**values, **lists})
