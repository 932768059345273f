"""Floom on one machine: every handler, the engine and the stores in one process."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from lib.stop_signals import StopSignals


def main(arguments: Sequence[str] = ()) -> int:
    """Run the server until it is told to stop, or a command; return the exit status.

    Args:
        arguments: `admin-link [email]` prints a link that signs an administrator in.
    """
    if arguments:
        from lib.admin_link import run_command

        return run_command(arguments)
    gc.disable()  # until it serves: looking for garbage is a tenth of the start, and there is none
    with StopSignals() as stop:
        # Below the signals: these imports take half a second, in which they may come, too.
        from handlers.registry import all_routes
        from lib.serving import run

        return run(all_routes, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
