"""`local_server.py admin-link [email]`: the way in for whoever has a shell here.

It makes the first administrator, and lets the operator in again. It works
beside a running server, whose database file it opens by itself.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lib.auth.email_address import normal_address
from lib.auth.sign_in_links import LIFE, make_admin_link
from lib.bootstrap import DOTENV, open_account_store
from lib.clock import SystemClock
from lib.data_folder import DataFolderError
from lib.errors import FloomError
from lib.settings import SettingsError, load_settings

COMMAND: Final = "admin-link"
USAGE: Final = "usage: local_server.py [admin-link [email]]"
USAGE_ERROR: Final = 2


def run_command(arguments: Sequence[str]) -> int:
    """Run what stands after the program's name; return the exit status.

    The link alone goes to standard output, everything else to standard error.
    """
    match arguments:
        case [str(command)] if command == COMMAND:
            return _print_link(None)
        case [str(command), str(email)] if command == COMMAND and not email.startswith("-"):
            return _print_link(email)
    return _refuse(USAGE)


def _print_link(email: str | None) -> int:
    try:
        _print_line(_make_link(email))
    except (SettingsError, DataFolderError) as error:
        return _refuse(f"floom: {error}")
    except FloomError as error:
        return _refuse(f"floom: {error.detail}")
    except OSError as error:
        return _refuse(
            f"floom: The link could not be printed ({error.strerror}); make another one."
        )
    minutes = int(LIFE.total_seconds()) // 60
    print(
        f"Open it within {minutes} minutes; it works once, and makes an administrator.",
        file=sys.stderr,
    )
    return 0


def _print_line(text: str) -> None:
    """Print a line on standard output; raises OSError unless all of it is out."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        print(text, flush=True)
    except OSError:
        # What is left would be tried again when the interpreter ends, and fail again.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise


def _make_link(email: str | None) -> str:
    email = None if email is None else normal_address(email)  # before there is a folder
    settings, clock = load_settings(dotenv=DOTENV), SystemClock()
    with open_account_store(settings, clock) as store:
        token = make_admin_link(store, email, clock=clock)
    # Whatever opens it, such as a chat that it is pasted into, gets a page first.
    return f"{settings.base_url}/auth/magic/{token.value}?confirm=1"


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return USAGE_ERROR
