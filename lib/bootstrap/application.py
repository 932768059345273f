"""The HTTP application, whatever is behind its services."""

from __future__ import annotations

from collections.abc import Sequence

from lib.auth.authenticator import Authenticator
from lib.auth.credentials import ACCESS_TOKEN_PREFIX, RUN_TOKEN_PREFIX
from lib.auth.principal import Role
from lib.auth.run_token import RunTokens
from lib.bootstrap.services import Services
from lib.settings import Settings
from lib.web.app import App, create_app
from lib.web.route import Route
from lib.web.shutdown import Shutdown


def build_app(
    settings: Settings, services: Services, routes: Sequence[Route], shutdown: Shutdown
) -> App:
    """Return the application of these routes under these settings."""
    secret = settings.secret.get_secret_value() if settings.secret else None
    return create_app(
        routes,
        authenticator=Authenticator(
            secret=secret,
            shared_secret_role=Role(settings.shared_secret_role),
            bearers={
                RUN_TOKEN_PREFIX: RunTokens(services.runs).check,
                ACCESS_TOKEN_PREFIX: services.accounts.tokens.check,
            },
            session=services.accounts.sessions.check,
        ),
        clock=services.clock,
        public_url=settings.base_url,
        allowed_hosts=settings.allowed_hosts,
        trusted_proxies=settings.trusted_proxies,
        shutdown=shutdown,
        audit=services.audit,
        rates=services.rates if settings.are_rates_limited else None,
    )
