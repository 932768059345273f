"""The composition root: settings become services, an application, an engine.

The only package that knows which adapter stands behind a port. Nothing is
created at import.
"""

from lib.bootstrap.accounts import accounts_of, open_account_store
from lib.bootstrap.application import build_app
from lib.bootstrap.functions import lambda_handler
from lib.bootstrap.local import Local
from lib.bootstrap.places import DOTENV
from lib.bootstrap.services import Services

__all__ = [
    "DOTENV",
    "Local",
    "Services",
    "accounts_of",
    "build_app",
    "lambda_handler",
    "open_account_store",
]
