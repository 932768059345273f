"""The documents say what the code does: settings, routes, targets, codes, links."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from falcon.routing import map_http_methods

from handlers.registry import all_routes
from handlers.run_views import RunView
from lib.runs.catalogue import WorkerStatus
from lib.settings import VARIABLES, Settings
from lib.version import VERSION
from lib.web.inert import Inert
from tests.docs import pages
from tests.docs.engine_codes import INDIRECT, engine_codes, indirect_codes
from tests.docs.pages import ROOT

README = pages.read("README.md")
TROUBLESHOOTING = pages.read("docs/TROUBLESHOOTING.md")

# Defaults that depend on something else, or are no value, in the README's words.
DEFAULTS_IN_WORDS = {
    "WORKEROS_WORKSPACE_DIR": "`workspace` in the data folder",
    "FLOOM_PUBLIC_URL": "`http://localhost:<port>`",
    "FLOOM_SECRET": "unset",
    "WORKEROS_GIT_REMOTE": "unset",
    "FLOOM_BUNDLE_STORE": "unset",
    "FLOOM_SMTP_URL": "unset",
    "FLOOM_MAIL_FROM": "`floom@` and the host of `FLOOM_PUBLIC_URL`",
    "FLOOM_SECRETS_KEY": "`keys/secrets.key` in the data folder",
    "FLOOM_RATE_LIMITS": "`1` with a secret, else `0`",
    "FLOOM_MAX_CONCURRENT_RUNS": "2 x processors",
    "FLOOM_SANDBOX": "`best_effort`; `require` beyond loopback or with a secret",
    "FLOOM_LOG_FORMAT": "`text` on a terminal, else `json`",
}
# In two parts each, so that this file does not hold what it looks for.
FOREIGN = [
    "".join(parts)
    for parts in [
        ("pypi.", "org"),
        ("python", "hosted.org"),
        ("registry.npm", "js.org"),
        ("registry.yarn", "pkg.com"),
        ("static.crates", ".io"),
        ("proxy.golang", ".org"),
        ("/ro", "ot/"),
    ]
]
# A path of some machine, unlike the last part of `<run>/work/`.
FOREIGN_PATH = re.compile(r"(?<![\w>}.\-])/" + "work/")


def documented_settings() -> dict[str, str]:
    table = pages.rows(pages.section(README, "Settings"))
    return {pages.code(variable): default for variable, default, _ in table}


def default_of(variable: str) -> str:
    if variable in DEFAULTS_IN_WORDS:
        return DEFAULTS_IN_WORDS[variable]
    default = Settings.model_fields[VARIABLES[variable]].default
    if default == ():
        return "none"
    return f"`{int(default) if isinstance(default, bool) else default}`"


def test_readme_lists_exactly_the_settings_there_are() -> None:
    assert documented_settings().keys() == VARIABLES.keys()


@pytest.mark.parametrize("variable", VARIABLES)
def test_readme_gives_each_setting_its_default(variable: str) -> None:
    assert documented_settings()[variable] == default_of(variable)


def test_readme_lists_exactly_the_routes_there_are() -> None:
    documented = {pages.code(row[0]) for row in pages.rows(pages.section(README, "API"))}
    registered = {
        f"{method} {re.sub(r':[^}]*', '', route.path)}"
        for route in all_routes(Inert())  # type: ignore[arg-type]  # stands for any services
        for method in map_http_methods(route.resource, suffix=route.suffix)
    }

    assert documented == registered


def test_a_ratio_that_its_own_columns_do_not_give_says_what_it_is() -> None:
    heads = re.findall(r"^\|(.*)\|\n\| ?-", pages.read("bench/RESULTS.md"), re.MULTILINE)
    ratios = [
        head.strip() for line in heads for head in line.split("|") if head.strip().startswith("of ")
    ]

    assert len(ratios) > 5
    assert {head for head in ratios if "median of pairs" not in head} <= {"of it", "of which"}


def test_every_page_is_in_the_readme_s_list() -> None:
    listed = pages.section(README, "Read on")
    there = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}

    assert {page for page in there if f"({page})" not in listed} == set()


def test_the_readme_s_answer_has_the_fields_of_a_real_one() -> None:
    (sample,) = (
        block.text for block in pages.blocks(README) if block.text.startswith('{"id":"run_')
    )

    assert list(json.loads(sample)) == list(RunView.model_fields)


def test_every_make_target_is_documented() -> None:
    targets = set(re.findall(r"^([a-z]+):", pages.read("Makefile"), re.MULTILINE))
    text = README + pages.read("CONTRIBUTING.md")

    assert targets
    assert {target for target in targets if f"make {target}" not in text} == set()


def test_every_make_command_in_the_documents_is_a_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", pages.read("Makefile"), re.MULTILINE))
    named = {
        target
        for page in pages.pages()
        for target in re.findall(r"`make ([a-z]+)", page.read_text(encoding="utf-8"))
    }

    assert named - targets == set()


def test_troubleshooting_explains_exactly_the_codes_of_the_engine() -> None:
    table = pages.rows(pages.section(TROUBLESHOOTING, "A run failed"))

    assert {pages.code(row[0]) for row in table} == engine_codes()


def test_authoring_lists_exactly_the_codes_that_a_run_can_end_with() -> None:
    authoring = pages.section(pages.read("docs/AUTHORING.md"), "6. How a run ends")
    cells = [row[2] if len(row) == 3 else row[0] for row in pages.rows(authoring)]
    codes = {code for cell in cells for code in re.findall(r"`([a-z_]+)`", cell)}
    given = {"error_code", "approval_rejected", "approval_expired"}  # by the worker, by decisions

    assert codes == engine_codes() | given


def test_no_code_of_the_engine_is_overlooked() -> None:
    """A code that comes from somewhere new must be added to `engine_codes`."""
    assert indirect_codes() == INDIRECT


def test_troubleshooting_explains_every_worker_status_in_order() -> None:
    table = pages.rows(pages.section(TROUBLESHOOTING, "What a worker's status means"))

    assert [pages.code(row[0]) for row in table] == list(get_args(WorkerStatus))


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in pages.links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        if not linked.exists() or (
            anchor and anchor not in pages.anchors(linked.read_text(encoding="utf-8"))
        ):
            broken.append(target)

    assert broken == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(pages.links(pages.read("docs/decisions/README.md")))

    assert listed == {path.name for path in folder.glob("*.md")} - {"README.md"}


def test_the_architecture_shows_the_layers_that_import_linter_holds() -> None:
    contracts = tomllib.loads(pages.read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = {each["name"]: each["layers"] for each in contracts if each["type"] == "layers"}
    directions = pages.section(pages.read("docs/architecture.md"), "2. Directions")
    (block,) = pages.blocks(directions)
    shown = block.text.replace(" |\n  ", " | ").splitlines()  # a long line goes on in the next

    assert layers["Nothing below knows an endpoint"] == ["handlers", "lib"]
    assert shown == ["handlers", *layers["Layers point downwards"]]


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads(pages.read("pyproject.toml"))["project"]

    assert project["version"] == VERSION
    assert f"({VERSION})" in README


def test_no_file_names_a_registry_or_a_path_of_some_machine() -> None:
    found = []
    for path in pages.files():
        text = path.read_bytes().decode("utf-8", "replace")
        if FOREIGN_PATH.search(text) or any(each in text for each in FOREIGN):
            found.append(str(path.relative_to(ROOT)))

    assert found == []
