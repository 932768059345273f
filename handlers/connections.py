"""Connections and secrets: what workers may use of the world outside.

Of connections there is nothing yet. No endpoint ever answers with a value.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, SecretStr

from handlers.warnings import WARNING
from lib.bootstrap import Services, lambda_handler
from lib.secrets.mask import MIN_MASKED_CHARACTERS, can_be_masked
from lib.web.access import Access
from lib.web.call import Call, PageReply, Reply
from lib.web.models import RequestModel, ResponseModel, Timestamp
from lib.web.operation import operation
from lib.web.paging import PageQuery, cursor_of
from lib.web.route import Route
from lib.web.threads import blocking

TAG: Final = "Connections and secrets"
MAX_VALUE_CHARACTERS: Final = 32_768
CANNOT_BE_MASKED: Final = (
    f"a value of fewer than {MIN_MASKED_CHARACTERS} characters cannot be masked in logs"
)


class SecretValue(RequestModel):
    """A value to store."""

    value: SecretStr = Field(min_length=1, max_length=MAX_VALUE_CHARACTERS)


class SecretView(ResponseModel):
    """What may be known of a secret."""

    name: str
    status: Literal["set", "missing"]
    used_by: list[str] = Field(description="Ids of the workers that declare it.")
    updated_at: Timestamp | None
    last_used_at: Timestamp | None = Field(description="When a run last took it.")


class Secrets:
    """Names and times of secrets; values go in only."""

    def __init__(self, services: Services) -> None:
        self._secrets = services.secrets

    @operation(
        "listSecrets",
        access=Access.MEMBER,
        summary="List secrets",
        query=PageQuery,
        responses={200: list[SecretView]},
        errors=["validation_failed"],
    )
    async def on_get(self, call: Call[PageQuery, None]) -> PageReply:
        """By name: those stored, and those that a worker declares and nobody stored yet."""
        return await self._page(call)

    @operation(
        "listSecretsAlias",
        access=Access.MEMBER,
        summary="List secrets (alias)",
        query=PageQuery,
        responses={200: list[SecretView]},
        errors=["validation_failed"],
    )
    async def on_get_alias(self, call: Call[PageQuery, None]) -> PageReply:
        """The same as `GET /connections/secrets`."""
        return await self._page(call)

    @operation(
        "putSecret",
        access=Access.ADMIN,
        summary="Store a secret",
        body=SecretValue,
        responses={204: None},
        errors=["validation_failed"],
    )
    async def on_put_item(self, call: Call[None, SecretValue], secret_name: str) -> Reply:
        """Encrypted at once, and handed to runs of workers that declare the name.

        Replaces an older value for runs that start from now on. A value of fewer
        than six characters is stored too; the answer then has a header
        `x-floom-warning`, because it cannot be masked in logs.
        """
        value = call.body.value.get_secret_value()
        await blocking(self._secrets.put, secret_name, value)
        headers = {} if can_be_masked(value) else {WARNING: CANNOT_BE_MASKED}
        return Reply(status=204, headers=headers)

    @operation(
        "deleteSecret",
        access=Access.ADMIN,
        summary="Delete a secret",
        responses={204: None},
        errors=["secret_not_found"],
    )
    async def on_delete_item(self, _call: Call[None, None], secret_name: str) -> Reply:
        """Runs that have it keep it; others of the same worker fail with `missing_secret`."""
        await blocking(self._secrets.delete, secret_name)
        return Reply(status=204)

    async def _page(self, call: Call[PageQuery, None]) -> PageReply:
        after = call.query.key(str) or ""
        entries = await blocking(self._secrets.list)
        rows = [SecretView.model_validate(entry) for entry in entries if entry.name > after]
        page = rows[: call.query.limit]
        cursor = cursor_of(page[-1].name) if len(rows) > len(page) else None
        return PageReply(page, cursor)


def routes(services: Services) -> list[Route]:
    """Return the routes of this group."""
    secrets = Secrets(services)
    return [
        Route("/connections/secrets", secrets, tag=TAG),
        Route("/connections/secrets/{secret_name}", secrets, "item", tag=TAG),
        Route("/secrets", secrets, "alias", tag=TAG),
    ]


handler = lambda_handler(routes)
