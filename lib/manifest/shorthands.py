"""Short and older ways to write a value, turned into what is meant.

Each turn is reported with what to write instead, so that strict mode can
refuse it; a legacy manifest passes a report that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lib.manifest.data import Map, Seq
from lib.manifest.lift import find_map
from lib.manifest.report import Place, Report

_APP_KEYS: Final = frozenset({"app", "composio", "mcp", "toolkit"})
_FREE_FORM: Final = frozenset({"example_input", "example_output", "default", "examples", "filters"})
_REQUIRED: Final = frozenset(
    {"schema_version", "title", "description", "version", "name", "cron", "event", "app"}
)


def expand(document: Map, report: Report) -> None:
    """Replace every shorthand of `document`, in place."""
    _expand_approvals(document, report)
    _expand_concurrency(document, report)
    _expand_network(document, report)
    _expand_triggers(document, report)
    exec_ = find_map(document, ("exec",))
    for parent, key, item in (
        (document, "connections", _connection),
        (document, "contexts", _named),
        (exec_, "inputs", _value),
        (exec_, "outputs", _value),
    ):
        if parent is not None and isinstance(parent.get(key), Map):
            _list_of(parent, key, item, report)
    for parent in (exec_, find_map(document, ("capabilities",))):
        if parent is not None and isinstance(parent.get("secrets"), Seq):
            _secret_names(parent["secrets"], report)
    _drop_empty(document, report)  # last: `slack:` in a map of connections is a name


def _shorthand(report: Report, place: Place, advice: str) -> None:
    report.warning(place, "shorthand", f"`{place.path}` is understood; {advice}.")


def _drop_empty(data: Any, report: Report) -> None:
    """Remove keys without a value, which mean the same as no key."""
    if isinstance(data, Seq):
        for item in data:
            _drop_empty(item, report)
    if not isinstance(data, Map):
        return
    for key in list(data):
        if key in _FREE_FORM or (key == "inputs" and isinstance(data[key], Map)):
            continue
        if data[key] is not None:
            _drop_empty(data[key], report)
        elif key not in _REQUIRED:
            _, place = data.take(key)
            message = f"`{place.path}` has no value; give it one or remove the key."
            report.warning(place, "empty_key", message)


def _expand_approvals(document: Map, report: Report) -> None:
    if not isinstance(document.get("approvals"), bool):
        return
    required, place = document.take("approvals")
    _shorthand(report, place, "write `approvals: {required: true}`, or leave it out")
    if required:
        approvals = Map(place)
        approvals.put("required", True, place)
        document.put("approvals", approvals, place)


def _expand_concurrency(document: Map, report: Report) -> None:
    cap = document.get("concurrency")
    if isinstance(cap, bool) or not isinstance(cap, int):
        return
    _, place = document.take("concurrency")
    _shorthand(report, place, f"write `concurrency: {{max: {cap}}}`")
    concurrency = Map(place)
    concurrency.put("max", cap, place)
    document.put("concurrency", concurrency, place)


def _expand_network(document: Map, report: Report) -> None:
    """Read `network: true`, `network: {allow: [...]}` and `egress: [...]`."""
    capabilities = find_map(document, ("capabilities",))
    if capabilities is None or "network" not in capabilities:
        return
    if isinstance(capabilities["network"], (bool, Seq)):
        value, place = capabilities.take("network")
        _shorthand(report, place, "write it as `capabilities.network.egress`")
        network = Map(place)
        network.put("egress", value, place)
        capabilities.put("network", network, place)
    network_map = find_map(document, ("capabilities", "network"))
    if network_map is not None:
        _expand_egress(network_map, report)


def _expand_egress(network: Map, report: Report) -> None:
    if "allow" in network and not isinstance(network.get("egress"), (Map, Seq)):
        hosts, place = network.take("allow")
        network.put("egress", hosts, place)
    if not isinstance(network.get("egress"), Seq):
        return
    hosts, place = network.take("egress")
    _shorthand(report, place, "write `capabilities.network.egress: {allow: [...]}`")
    rules = Map(place)
    rules.put("allow", hosts, place)
    network.put("egress", rules, place)


def _expand_triggers(document: Map, report: Report) -> None:
    if isinstance(document.get("trigger"), Seq) and "triggers" not in document:
        value, place = document.take("trigger")
        _shorthand(report, place, "several triggers are called `triggers`")
        document.put("triggers", value, place)
    if isinstance(document.get("trigger"), str):
        place = document.places["trigger"]
        document.put("trigger", _trigger(document["trigger"], place, report), place)
    triggers = document.get("triggers")
    if not isinstance(triggers, Seq):
        return
    for index, item in enumerate(triggers):
        if isinstance(item, str):
            triggers[index] = _trigger(item, triggers.places[index], report)


def _trigger(kind: str, place: Place, report: Report) -> Map:
    _shorthand(report, place, "write `{type: ...}`")
    trigger = Map(place)
    trigger.put("type", kind, place)
    return trigger


def _list_of(parent: Map, key: str, item: Callable[[str, Any, Place], Any], report: Report) -> None:
    """Turn a map of names into a list of items, or one item into a list of it."""
    members, place = parent.take(key)
    _shorthand(report, place, "write it as a list")
    items = Seq(place)
    if (key == "connections" and _APP_KEYS & members.keys()) or isinstance(
        members.get("name"), str
    ):
        items.add(members, place)
    else:
        for name, value in members.items():
            at = members.places[name]
            items.add(item(name, value, at), at)
    parent.put(key, items, place)


def _connection(name: str, value: Any, place: Place) -> Any:
    if isinstance(value, Map) and name in _APP_KEYS:
        return value
    if isinstance(value, Map):
        if "app" not in value:
            value.put("app", name, place)
        return value
    return name


def _named(name: str, value: Any, place: Place) -> Any:
    if not isinstance(value, Map):
        return name
    if "name" not in value:
        value.put("name", name, place)
    return value


def _value(name: str, value: Any, place: Place) -> Any:
    """Return `{name: who, type: string}` for `who: string`."""
    spec = value if isinstance(value, Map) else Map(place)
    if isinstance(value, str):
        spec.put("type", value, place)
    if "name" not in spec:
        spec.put("name", name, place)
    return spec


def _secret_names(secrets: Seq, report: Report) -> None:
    for index, item in enumerate(secrets):
        if isinstance(item, Map) and isinstance(item.get("name"), str):
            _shorthand(report, secrets.places[index], "write the secret's name alone")
            secrets[index] = item["name"]
