"""Floom on one machine: every handler, the engine and the stores in one process."""

from __future__ import annotations

import sys

from lib.stop_signals import StopSignals


def main() -> int:
    """Run the server until it is told to stop; return its exit status."""
    with StopSignals() as stop:
        # Below the signals: these imports take half a second, in which they may come, too.
        from handlers.registry import all_routes
        from lib.serving import run

        return run(all_routes, stop)


if __name__ == "__main__":
    sys.exit(main())
