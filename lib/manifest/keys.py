"""Which keys there are and where each belongs.

Read from the models, so that a new field is known here at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Final

from pydantic import BaseModel

from lib.manifest.connections import AppConnection, Context, EgressRules, McpAuth, McpServer
from lib.manifest.document import (
    Author,
    Capabilities,
    Entrypoint,
    Exec,
    Network,
    Resources,
    WorkerDocument,
)
from lib.manifest.inputs import Bounds, InputSpec, Option, OutputSpec
from lib.manifest.policies import Approvals, Concurrency, Limits, Notify, Retry
from lib.manifest.triggers import ComposioTrigger, ScheduleTrigger, WebhookTrigger

Path = tuple[str, ...]

# The maps that exist once, each with its keys: between them a key can only be
# misplaced, never ambiguous. Earlier homes win: secrets belong under exec.
_HOMES: Final[dict[Path, frozenset[str]]] = {
    (): frozenset(WorkerDocument.model_fields),
    ("exec",): frozenset(Exec.model_fields),
    ("limits",): frozenset(Limits.model_fields),
    ("capabilities",): frozenset(Capabilities.model_fields),
    ("capabilities", "network"): frozenset(Network.model_fields),
}
CONTAINERS: Final = (*_HOMES, ("resources",))
# The maps that occur in lists or under a key of their own.
_MODELS: Final[dict[str, tuple[type[BaseModel], ...]]] = {
    "inputs": (InputSpec,),
    "outputs": (OutputSpec,),
    "options": (Option,),
    "bounds": (Bounds,),
    "trigger": (ScheduleTrigger, WebhookTrigger, ComposioTrigger),
    "triggers": (ScheduleTrigger, WebhookTrigger, ComposioTrigger),
    "connections": (AppConnection,),
    "composio": (AppConnection,),
    "mcp": (McpServer,),
    "auth": (McpAuth,),
    "contexts": (Context,),
    "egress": (EgressRules,),
    "authors": (Author,),
    "entrypoints": (Entrypoint,),
    "resources": (Resources,),
    "concurrency": (Concurrency,),
    "retry": (Retry,),
    "approvals": (Approvals,),
    "notify": (Notify,),
}
_LONGEST_KEY: Final = 40  # comparing takes quadratic time
_MOST_KEYS: Final = 200
_LIKENESS: Final = 0.7


def home_of(key: str, container: Path) -> Path | None:
    """Return where `key` belongs, if it is misplaced in `container`."""
    if key == "name" or key in _HOMES.get(container, ()):
        return None  # many things have a name; a stray one says nothing
    return next((home for home, keys in _HOMES.items() if key in keys), None)


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the known word that `word` is most likely a slip of, if any."""
    if len(word) > _LONGEST_KEY or len(known) > _MOST_KEYS:
        return None
    matches = get_close_matches(word.lower().replace("-", "_"), sorted(known), 1, _LIKENESS)
    return matches[0] if matches else None


def advise(loc: Sequence[str | int], path: str) -> str:
    """Return the sentence about the unknown key at `loc`, written at `path`."""
    key = str(loc[-1])
    container = tuple(
        part for part in loc[:-1] if isinstance(part, str) and not part.startswith("<")
    )
    guess = nearest(key, _keys_at(container))
    if guess is not None:
        return f"`{path}`: did you mean `{guess}`?"
    if container in CONTAINERS and (guess := nearest(key, _all_keys())):
        home = ".".join(home_of(guess, container) or ()) or "the top level"
        where = home if home == "the top level" else f"`{home}`"
        return f"`{path}`: did you mean `{guess}`? It belongs to {where}."
    return f"`{path}` is not a known key; it is ignored."


def _keys_at(container: Path) -> frozenset[str]:
    if container in _HOMES:
        return _HOMES[container]
    models = _MODELS.get(container[-1], ())
    return frozenset(key for model in models for key in model.model_fields)


def _all_keys() -> frozenset[str]:
    return frozenset().union(*_HOMES.values())
