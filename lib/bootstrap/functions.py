"""Route groups as AWS Lambda functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from lib.bootstrap.application import build_app
from lib.bootstrap.local import Local
from lib.bootstrap.places import DOTENV
from lib.bootstrap.services import Services
from lib.settings import Settings, load_settings
from lib.web.aws import LambdaHandler, lambda_adapter
from lib.web.route import Route
from lib.web.shutdown import Shutdown


def lambda_handler(
    routes: Callable[[Services], list[Route]],
    *,
    build: Callable[[], tuple[Settings, Services]] | None = None,
) -> LambdaHandler:
    """Return a Lambda handler of one route group.

    Settings, services and application are made on the first call and kept: a
    cold start pays for them, an import does not.

    Args:
        routes: The group's `routes`.
        build: Makes settings and services; by default from the environment.
    """

    @functools.cache
    def adapter() -> LambdaHandler:
        settings, services = (build or _build_from_environment)()
        return lambda_adapter(build_app(settings, services, routes(services), Shutdown()))

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return adapter()(event, context)

    return handler


def _build_from_environment() -> tuple[Settings, Services]:
    settings = load_settings(dotenv=DOTENV)
    return settings, Local(settings).services
