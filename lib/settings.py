"""Settings: the only reader of the environment.

Names are part of the contract (`README.md` lists them all; a test compares).
A `.env` file beside `local_server.py` is read too; the environment wins.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from lib.blob_address import BadBlobAddress, parse_blob_address
from lib.git_address import BadAddress, parse_address
from lib.mailbox import BadMailbox, Mailbox, parse_mailbox
from lib.smtp_address import BadSmtpAddress, SmtpAddress, parse_smtp_address

MIN_SECRET_CHARACTERS: Final = 16

_SECRETS_KEY: Final = re.compile(r"[0-9A-Fa-f]{64}\Z")
# What installers of packages are configured by; nothing else of the server sees them.
_OF_INSTALLERS: Final = re.compile(
    r"(PIP_\w+|UV_\w+|npm_config_.+|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)"
    r"|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS)\Z",
    re.IGNORECASE,
)
# What the git command needs to reach a remote as the operator's own would.
_OF_GIT: Final = frozenset({
    "PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
    "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
})  # fmt: skip
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])\Z")

SandboxMode = Literal["require", "best_effort", "off"]


class SettingsError(Exception):
    """A setting is missing or not allowed; the message is one line for the operator."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


List = Annotated[tuple[str, ...], BeforeValidator(_split)]


class Settings(BaseModel):
    """Everything that an operator may choose, checked."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    host: str = Field("127.0.0.1", alias="FLOOM_HOST", min_length=1)
    port: int = Field(8000, alias="FLOOM_PORT", ge=0, le=65_535)
    data_dir: Path = Field(Path("var"), alias="FLOOM_DATA_DIR")
    workspace_dir: Path | None = Field(None, alias="WORKEROS_WORKSPACE_DIR")
    workspace_id: str = Field(
        "default", alias="FLOOM_WORKSPACE_ID", pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$"
    )
    public_url: str | None = Field(None, alias="FLOOM_PUBLIC_URL")
    secret: Annotated[SecretStr | None, BeforeValidator(_strip)] = Field(None, alias="FLOOM_SECRET")
    shared_secret_role: Literal["member", "admin"] = Field(
        "member", alias="WORKEROS_SHARED_SECRET_ROLE"
    )
    secrets_key: Annotated[SecretStr | None, BeforeValidator(_strip)] = Field(
        None, alias="FLOOM_SECRETS_KEY"
    )
    allow_open: bool = Field(False, alias="FLOOM_ALLOW_OPEN")
    rate_limits: bool | None = Field(None, alias="FLOOM_RATE_LIMITS")
    allowed_hosts: List = Field((), alias="FLOOM_ALLOWED_HOSTS")
    trusted_proxies: List = Field((), alias="FLOOM_TRUSTED_PROXIES")
    max_concurrent_runs: int = Field(
        2 * (os.cpu_count() or 1), alias="FLOOM_MAX_CONCURRENT_RUNS", ge=1, le=1_000
    )
    sandbox: SandboxMode | None = Field(None, alias="FLOOM_SANDBOX")
    retention_days: int = Field(90, alias="FLOOM_RETENTION_DAYS", ge=0, le=36_500)
    log_format: Literal["text", "json"] | None = Field(None, alias="FLOOM_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="FLOOM_LOG_LEVEL")
    backend: Literal["local", "aws"] = Field("local", alias="FLOOM_BACKEND")
    git_remote: Annotated[SecretStr | None, BeforeValidator(_strip)] = Field(
        None, alias="WORKEROS_GIT_REMOTE"
    )
    bundle_store: str | None = Field(None, alias="FLOOM_BUNDLE_STORE")
    bundle_refresh_seconds: float = Field(
        1.0, alias="FLOOM_BUNDLE_REFRESH_SECONDS", ge=0, le=3_600, allow_inf_nan=False
    )
    smtp_url: Annotated[SecretStr | None, BeforeValidator(_strip)] = Field(
        None, alias="FLOOM_SMTP_URL"
    )
    mail_from: str | None = Field(None, alias="FLOOM_MAIL_FROM")
    installer_variables: Mapping[str, str] = Field(default_factory=dict, repr=False)
    git_variables: Mapping[str, str] = Field(default_factory=dict, repr=False)

    @model_validator(mode="after")
    def _check(self) -> Settings:
        _check_networks(self.trusted_proxies)
        _check_hosts(self.allowed_hosts)
        if self.secret and len(self.secret.get_secret_value()) < MIN_SECRET_CHARACTERS:
            raise ValueError(f"FLOOM_SECRET: must have {MIN_SECRET_CHARACTERS} characters or more")
        _check_secrets_key(self.secrets_key)
        _check_git_remote(self.git_remote)
        _check_bundle_store(self.bundle_store)
        _check_smtp_url(self.smtp_url)
        _check_mail_from(self.mail_from)
        if self.backend == "aws":
            raise ValueError("FLOOM_BACKEND=aws: this version has the local backend only")
        _check_url(self.base_url)
        if not (self.is_loopback or self.secret or self.allow_open):
            raise ValueError(
                f"FLOOM_HOST={self.host} can be reached from other machines: set FLOOM_SECRET "
                f"({MIN_SECRET_CHARACTERS} characters or more), or FLOOM_ALLOW_OPEN=1 to let "
                "everybody in as admin"
            )
        if self.sandbox == "off" and not self.is_loopback:
            raise ValueError("FLOOM_SANDBOX=off is allowed only where FLOOM_HOST is loopback")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def base_url(self) -> str:
        """Base of links, without a slash at the end."""
        return (self.public_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def smtp_address(self) -> SmtpAddress | None:
        """The mail server; None where none is set. It holds the password."""
        return parse_smtp_address(self.smtp_url.get_secret_value()) if self.smtp_url else None

    @property
    def mail_sender(self) -> Mailbox:
        """Whom mail comes from: as set, or `floom` at the host of the public URL."""
        return parse_mailbox(self.mail_from or f"floom@{_mail_domain(self.base_url)}")

    @property
    def workspace_path(self) -> Path:
        """Root of the workspace repository."""
        return (self.workspace_dir or self.data_dir / "workspace").absolute()

    @property
    def sandbox_mode(self) -> SandboxMode:
        """What to do where isolation is not whole: refuse wherever others may start runs."""
        default: SandboxMode = "best_effort" if self.is_loopback and not self.secret else "require"
        return self.sandbox or default

    @property
    def are_rates_limited(self) -> bool:
        """Whether calls and bad credentials are counted: where there is a secret, unless set."""
        return self.secret is not None if self.rate_limits is None else self.rate_limits

    @property
    def effective_log_format(self) -> Literal["text", "json"]:
        """Text on a terminal, else JSON, unless set."""
        return self.log_format or ("text" if sys.stderr.isatty() else "json")


VARIABLES: Final = {
    field.alias: name for name, field in Settings.model_fields.items() if field.alias
}


def load_settings(environ: Mapping[str, str] | None = None, *, dotenv: Path) -> Settings:
    """Read settings from the environment over the `.env` file; empty counts as unset.

    Raises:
        SettingsError: names the variable, what it holds and what is allowed.
    """
    given = _given(environ, dotenv)
    chosen = {name: value for name, value in given.items() if name in VARIABLES and value}
    of_installers = {n: v for n, v in given.items() if _OF_INSTALLERS.match(n) and v}
    of_git = {n: v for n, v in given.items() if n in _OF_GIT and v}
    others = {"installer_variables": of_installers, "git_variables": of_git}
    try:
        return Settings.model_validate({**chosen, **others})
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def _given(environ: Mapping[str, str] | None, dotenv: Path) -> dict[str, str | None]:
    return {**_of_file(dotenv), **(os.environ if environ is None else environ)}


def _of_file(dotenv: Path) -> dict[str, str | None]:
    """Return what a `.env` file sets; none is fine, one that is not whole is not.

    A line that was passed over may have been the server's secret.
    """
    try:
        text = dotenv.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{dotenv}: cannot be read as UTF-8 text ({error})") from error
    bad = next((each for each in parse_stream(StringIO(text)) if each.error), None)
    if bad is not None:
        raise SettingsError(f"{dotenv}: line {bad.original.line} is not NAME=value")
    return dotenv_values(stream=StringIO(text))


def unknown_variables(environ: Mapping[str, str] | None = None, *, dotenv: Path) -> list[str]:
    """Return a sentence for each `FLOOM_*` variable, also of the `.env` file, that is no setting."""
    present = _given(environ, dotenv)
    unknown = sorted(n for n in present if n.startswith("FLOOM_") and n not in VARIABLES)
    return [f"{name} is not a setting{_suggestion(name)}" for name in unknown]


def _suggestion(name: str) -> str:
    near = difflib.get_close_matches(name, VARIABLES, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _explain(error: ValidationError) -> str:
    """Return one line about the first problem; a secret's value is never shown."""
    first: Any = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return str(message)
    name = str(first["loc"][0])
    shown = (
        "" if "SECRET" in name and name != "WORKEROS_SHARED_SECRET_ROLE" else (f"={first['input']}")
    )
    return f"{name}{shown}: {message[0].lower()}{message[1:]}"


def _check_secrets_key(key: SecretStr | None) -> None:
    if key is not None and not _SECRETS_KEY.match(key.get_secret_value()):
        raise ValueError(
            "FLOOM_SECRETS_KEY: must be 32 bytes as 64 hexadecimal digits, such as "
            "`openssl rand -hex 32` prints"
        )


def _check_git_remote(remote: SecretStr | None) -> None:
    if remote is None:
        return
    try:
        parse_address(remote.get_secret_value())
    except BadAddress as ex:
        raise ValueError(f"WORKEROS_GIT_REMOTE: {ex}") from None  # it may hold a password


def _check_bundle_store(address: str | None) -> None:
    if address is None:
        return
    try:
        parse_blob_address(address)
    except BadBlobAddress as ex:
        raise ValueError(f"FLOOM_BUNDLE_STORE: {ex}") from None  # it may hold a password


def _check_smtp_url(url: SecretStr | None) -> None:
    if url is None:
        return
    try:
        parse_smtp_address(url.get_secret_value())
    except BadSmtpAddress as ex:
        raise ValueError(f"FLOOM_SMTP_URL: {ex}") from None  # it may hold a password


def _check_mail_from(sender: str | None) -> None:
    if sender is None:
        return
    try:
        parse_mailbox(sender)
    except BadMailbox as ex:
        raise ValueError(f"FLOOM_MAIL_FROM={sender!r}: {ex}") from None


def _mail_domain(url: str) -> str:
    """Return the host of a checked URL as a mailbox has it (RFC 5321, section 4.1.3)."""
    host = (urlsplit(url).hostname or "localhost").rstrip(".").replace("_", "-")
    if ":" in host:
        return f"[IPv6:{host}]"
    return f"[{host}]" if host.replace(".", "").isdigit() else host


def _check_networks(networks: tuple[str, ...]) -> None:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError(
                f"FLOOM_TRUSTED_PROXIES={','.join(networks)}: must be networks such as "
                "10.0.0.0/8,::1/128"
            ) from None


def _check_hosts(hosts: tuple[str, ...]) -> None:
    if not all(_HOST.match(host.strip()) for host in hosts):
        raise ValueError(
            f"FLOOM_ALLOWED_HOSTS={','.join(hosts)}: must be host names such as "
            "floom.example.com,10.0.0.5"
        )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # a port that is no number raises
    except ValueError:
        parts, host = urlsplit(""), ""
    is_host = _HOST.match(host) or _HOST.match(f"[{host}]")
    if parts.scheme not in ("http", "https") or not is_host or parts.query or parts.fragment:
        raise ValueError(f"FLOOM_PUBLIC_URL={url!r}: must look like https://floom.example.com")
