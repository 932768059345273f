"""What the server's operator set for installers: indexes, credentials, certificates.

Only installers get any of it, and only what decides where packages come from:
a variable such as `UV_TARGET` or `UV_PUBLISH_TOKEN` is nobody's business here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from lib.secrets.mask import Mask

# What uv reads of where packages come from, and how patiently.
_UV: Final = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY"
    r"|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES|NATIVE_TLS|SYSTEM_CERTS|EXCLUDE_NEWER"
    r"|CONCURRENT_DOWNLOADS|CONCURRENT_BUILDS|INDEX_\w+_(USERNAME|PASSWORD))\Z"
)
# uv does not read pip's; most operators have set those.
_OF_PIP: Final = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
    "PIP_CERT": "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE": "SSL_CERT_FILE",
}
_SAME_AS: Final = {
    "UV_DEFAULT_INDEX": ("UV_INDEX_URL",),
    "UV_INDEX": ("UV_EXTRA_INDEX_URL",),
    "SSL_CERT_FILE": ("SSL_CERT_DIR",),
}
_NPM: Final = re.compile(
    r"npm_config_(//.+|@[^:]+:registry|registry|cafile|ca|cert|key|strict_ssl|before"
    r"|fetch_retries|fetch_retry_\w+|fetch_timeout|maxsockets|userconfig|globalconfig)\Z"
)
_PYTHON_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_NODE_CERTIFICATES: Final = ("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_SECRET_NAME: Final = re.compile(r"(PASSWORD|TOKEN|_AUTH|SECRET|_KEY)\Z", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"[a-z][a-z+]*://\S+", re.IGNORECASE)
_TRUE: Final = ("1", "true", "yes", "on", "y", "t")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True)
class InstallerSettings:
    """The operator's variables for installers, as the environment has them.

    Attributes:
        variables: `PIP_*`, `UV_*`, `npm_config_*`, certificates and proxies;
            their values may hold passwords.
    """

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    @functools.cached_property
    def python(self) -> Mapping[str, str]:
        """Variables for uv; those of pip count where uv's own are not set."""
        given = self.variables
        chosen = {name: given[name] for name in given if _UV.match(name)}
        chosen |= {name: given[name] for name in _PYTHON_CERTIFICATES if name in given}
        for old, new in _OF_PIP.items():
            if old in given and not any(each in chosen for each in (new, *_SAME_AS.get(new, ()))):
                chosen[new] = given[old]
        return chosen

    @property
    def has_no_index(self) -> bool:
        """Whether Python packages come from folders only; uv has no variable for it."""
        named = (self.variables.get(name, "") for name in ("UV_NO_INDEX", "PIP_NO_INDEX"))
        return any(value.lower() in _TRUE for value in named)

    @functools.cached_property
    def node(self) -> Mapping[str, str]:
        """Variables for npm, in lower case as npm reads them."""
        lowered = {_npm_name(name): value for name, value in self.variables.items()}
        chosen = {name: value for name, value in lowered.items() if _NPM.match(name)}
        return chosen | {
            name: self.variables[name] for name in _NODE_CERTIFICATES if name in self.variables
        }

    @property
    def python_hosts(self) -> tuple[str, ...]:
        """Hosts with ports, `host:443`, that the operator sends uv to."""
        return tuple(_hosts(self.python.values()))

    @property
    def node_hosts(self) -> tuple[str, ...]:
        """Hosts with ports that the operator sends npm to."""
        return tuple(_hosts(self.node.values()))

    @property
    def proxies(self) -> Mapping[str, str]:
        """The way out of this network, if it has one: `http`, `https`, `all`, `no`."""
        found = {}
        for name in _PROXIES:
            value = self.variables.get(name) or self.variables.get(name.upper())
            if value:
                found[name.removesuffix("_proxy")] = value
        return found

    @functools.cached_property
    def mask(self) -> Mask:
        """Hides every password and token among them."""
        values = {name: value for name, value in self.variables.items() if value}
        return Mask(
            sorted({form for name, each in values.items() for form in _secrets(name, each)})
        )

    @property
    def python_has_credentials(self) -> bool:
        """Whether uv is given a password, which a package that it builds could read."""
        return any(True for name, value in self.python.items() for _ in _secrets(name, value))


def local_paths(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files and folders that variables name and that are there."""
    words = [word for value in variables.values() for word in re.split(r"[\s,:]+", value)]
    words += [word for value in variables.values() for word in re.split(r"[\s,]+", value)]
    paths = [unquote(urlsplit(word).path) if word.startswith("file://") else word for word in words]
    return tuple(dict.fromkeys(p for p in paths if p.startswith("/") and _is_a_place(p)))


def _is_a_place(path: str) -> bool:
    return path.strip("/") != "" and Path(path).exists()


def _npm_name(name: str) -> str:
    """Return a variable's name as npm understands it: only the prefix for `//host/:_auth`."""
    if not name.lower().startswith("npm_config_"):
        return name
    rest = name[len("npm_config_") :]
    return "npm_config_" + (rest if rest.startswith(("//", "@")) else rest.lower())


def _hosts(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        for address in _ADDRESS.findall(value):
            try:
                parts = urlsplit(address)
                port = parts.port or _DEFAULT_PORTS.get(parts.scheme.lower())
            except ValueError:  # no address after all; the installer will say so
                continue
            if parts.hostname and port:
                host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
                yield f"{host}:{port}"


def _secrets(name: str, value: str) -> Iterator[str]:
    """Yield the forms in which a variable's secrets may be shown."""
    if _SECRET_NAME.search(name):
        yield value
    for address in _ADDRESS.findall(value):
        user, _, password = urlsplit(address).netloc.rpartition("@")[0].partition(":")
        for part in (password or user, f"{user}:{password}" if password else ""):
            if part:
                yield from dict.fromkeys((part, unquote(part), quote(unquote(part), safe="")))
