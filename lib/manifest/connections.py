"""What a worker may reach: apps, MCP servers, shared contexts, hosts.

A connection is written in one of four forms; `Connection` is what they mean.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from lib.manifest.fields import (
    Command,
    HttpUrl,
    Identifier,
    Items,
    Line,
    Matching,
    Part,
    SecretName,
    problem,
)

AppSlug = Annotated[
    str, Matching("^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", "the slug of an app, such as gmail")
]
ContextName = Annotated[
    str,
    Matching(
        "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "a name: letters, digits, -, _ and ., at most 64"
    ),
]
# 1 to 65535, as an expression so that the JSON Schema holds editors to it too.
_PORT: Final = (
    "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
Host = Annotated[
    str,
    Matching(
        r"^(?:\*|(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])"
        rf"(?::{_PORT})?$",
        "a host with or without a port (1 to 65535), such as api.example.com:443, "
        "and no scheme or path",
    ),
]
ToolName = Annotated[
    str,
    Matching("^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", "a tool's name: letters, digits, _, . and -"),
]


class AppConnection(Part):
    """An app that the workspace is connected to."""

    app: AppSlug = Field(description="The app.", examples=["gmail"])
    allowed_tools: Items[ToolName] | None = Field(
        None, description="Tools that may be called; without it all tools of the app."
    )
    scope: Literal["full", "read_only"] = Field(
        "full", description="`read_only` refuses every tool that changes something."
    )


class McpAuth(Part):
    """How to sign in to an MCP server: with a secret, by its name."""

    type: Literal["bearer", "header"] = Field("bearer", description="Where the secret goes.")
    secret: SecretName = Field(description="Name of the secret, never its value.")
    header: Line | None = Field(None, description="The header, for type `header`.")


class McpServer(Part):
    """An MCP server: an address, or a command that runs in the run's sandbox."""

    label: Identifier = Field(description="Prefix of its tools' names.")
    transport: Literal["http", "sse", "stdio"] | None = Field(
        None, description="Without it: stdio for a command, http for an address."
    )
    url: HttpUrl | None = Field(None, description="Address of a remote server.")
    command: Command = Field((), description="Command of a local server.")
    auth: McpAuth | None = Field(None, description="How to sign in.")
    allowed_tools: Items[ToolName] | None = Field(
        None, description="Tools that may be called; without it all."
    )

    @model_validator(mode="after")
    def _url_or_command(self) -> Self:
        if bool(self.url) == bool(self.command):
            raise problem("mcp_address", "needs either `url` or `command`")
        return self


class _ComposioEntry(Part):
    composio: AppConnection = Field(description="An app that Composio connects to.")


class _McpEntry(Part):
    mcp: McpServer = Field(description="An MCP server.")


def _connection_tag(written: Any) -> str:
    if isinstance(written, str):
        return "<name>"
    keys = written if isinstance(written, dict) else ()
    return next((f"<{key}>" for key in ("composio", "mcp") if key in keys), "<app>")


ConnectionEntry = Annotated[
    Annotated[AppSlug, Tag("<name>")]
    | Annotated[AppConnection, Tag("<app>")]
    | Annotated[_ComposioEntry, Tag("<composio>")]
    | Annotated[_McpEntry, Tag("<mcp>")],
    Discriminator(_connection_tag),
]


class Connection(Part):
    """One connection, whatever form it was written in.

    Attributes:
        app: Slug of the app, in lower case; None for an MCP server.
        mcp: The MCP server, its `transport` always set; None for an app.
        allowed_tools: None allows every tool.
    """

    app: str | None
    mcp: McpServer | None = None
    allowed_tools: tuple[str, ...] | None = None
    scope: Literal["full", "read_only"] = "full"

    @classmethod
    def of(cls, entry: Any) -> Self:
        """Return what an entry of the list `connections` means."""
        match entry:
            case str():
                return cls(app=entry.lower())
            case _McpEntry(mcp=server):
                transport = server.transport or ("stdio" if server.command else "http")
                mcp = server.model_copy(update={"transport": transport})
                return cls(app=None, mcp=mcp, allowed_tools=server.allowed_tools)
            case _ComposioEntry(composio=app):
                return cls.of(app)
            case _:
                return cls(
                    app=entry.app.lower(), allowed_tools=entry.allowed_tools, scope=entry.scope
                )


class Context(Part):
    """Shared files that a run finds under `context/<name>/`."""

    name: ContextName = Field(description="The context, and its folder's name.")
    writeable: bool = Field(False, description="Whether a run's changes are kept.")
    source: Annotated[
        str,
        Matching(
            r"^(?:local|git\+https://[^\s@]+@[^\s@]+)$", "local, or git+https://<address>@<ref>"
        ),
    ] = Field("local", description="The workspace, or a public repository at a commit or tag.")


def _context_tag(written: Any) -> str:
    return "<name>" if isinstance(written, str) else "<context>"


ContextEntry = Annotated[
    Annotated[ContextName, Tag("<name>")] | Annotated[Context, Tag("<context>")],
    Discriminator(_context_tag),
]


class EgressRules(Part):
    """The hosts that a run may reach, through the egress proxy."""

    allow: Items[Host] = Field(
        description="Hosts, with or without a port.", examples=[["api.example.com", "*.s3.org:443"]]
    )


def _egress_tag(written: Any) -> str:
    return "<any>" if isinstance(written, bool) else "<rules>"


EgressEntry = Annotated[
    Annotated[bool, Tag("<any>")] | Annotated[EgressRules, Tag("<rules>")],
    Discriminator(_egress_tag),
]


class Egress(Part):
    """What of the network a run may reach.

    Attributes:
        allow: `host` or `host:port`, in lower case; `*` is any public
            address; empty means no network at all.
    """

    allow: tuple[str, ...] = ()

    @property
    def is_denied(self) -> bool:
        """Whether there is no network at all."""
        return not self.allow

    @property
    def is_open(self) -> bool:
        """Whether any public address may be reached."""
        return "*" in self.allow

    @classmethod
    def of(cls, entry: bool | EgressRules) -> Self:
        """Return what `capabilities.network.egress` means."""
        if isinstance(entry, bool):
            return cls(allow=("*",) if entry else ())
        return cls(allow=tuple(dict.fromkeys(host.lower() for host in entry.allow)))
