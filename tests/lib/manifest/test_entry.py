"""What is run: the order in which mode, entry, command and files decide."""

from __future__ import annotations

import pytest

from tests.lib.manifest.loading import codes, load_with, manifest_with

ALL_FILES = ("SKILL.md", "run.py", "run.js", "run.sh")


@pytest.mark.parametrize(
    ("written", "files", "mode", "entry"),
    [
        ("{mode: agent}", ALL_FILES, "agent", "SKILL.md"),
        ("{mode: pure-script}", ("SKILL.md", "run.sh"), "script", "run.sh"),
        ("{mode: pure-script, runtime: node}", ALL_FILES, "script", "run.js"),
        ("{entry: SKILL.md}", ALL_FILES, "agent", "SKILL.md"),
        ("{entry: run.js}", ALL_FILES, "script", "run.js"),
        ("{entry: prompts/main.md}", ("prompts/main.md",), "agent", "prompts/main.md"),
        ("{command: ./tool --fast, runtime: bash}", ("tool", "SKILL.md"), "script", "tool"),
        ("{runtime: python}", ("SKILL.md", "run.py"), "script", "run.py"),
        ("{runtime: skill}", ("SKILL.md",), "agent", "SKILL.md"),
        ("{}", ("SKILL.md",), "agent", "SKILL.md"),
        ("{}", ("run.js",), "script", "run.js"),
        ("{mode: hybrid, entry: run.py}", ALL_FILES, "script", "run.py"),
        ("{mode: hybrid}", ALL_FILES, "agent", "SKILL.md"),
    ],
)
def test_mode_and_entry(written: str, files: tuple[str, ...], mode: str, entry: str):
    loaded = load_with(f"exec: {written}\n", files=files)

    assert loaded.manifest is not None
    assert (loaded.manifest.mode, loaded.manifest.entry) == (mode, entry)
    assert set(codes(loaded)) <= {"alias", "ambiguous_entry"}


@pytest.mark.parametrize(
    "written",
    [
        "exec: {mode: agent, entry: run.py}",
        "exec: {mode: pure-script, entry: SKILL.md}",
        "exec: {mode: agent, command: python run.py, runtime: python}",
        "exec: {entry: SKILL.md, command: python run.py, runtime: python}",
        "exec: {mode: pure-script, runtime: skill}",
        "exec: {entry: run.py, runtime: node}",
        "exec: {entry: run.py}\nentrypoint: run.js",
        "exec: {entry: run.py}\nentrypoints: [{path: run.js}]",
    ],
)
def test_two_that_disagree_are_an_error(written: str):
    loaded = load_with(written + "\n", files=ALL_FILES)

    assert "contradiction" in [problem.code for problem in loaded.errors]


@pytest.mark.parametrize(
    ("entry", "command"),
    [
        ("run.py", ("python", "run.py")),
        ("src/main.mjs", ("node", "src/main.mjs")),
        ("go.sh", ("bash", "go.sh")),
    ],
)
def test_the_command_follows_from_the_entry(entry: str, command: tuple[str, ...]):
    manifest = manifest_with(f"exec: {{entry: {entry}}}\n", files=(entry,))

    assert manifest.command == command


def test_a_command_is_split_as_a_shell_would_but_nothing_is_expanded():
    manifest = manifest_with("exec:\n  command: python run.py \"$HOME\" '*' a\\ b\n")

    assert manifest.command == ("python", "run.py", "$HOME", "*", "a b")


def test_a_command_without_a_file_of_the_worker_has_no_entry():
    manifest = manifest_with("exec: {command: [python, -m, http.server]}\n", files=())

    assert (manifest.entry, manifest.runtime) == (None, "python")


def test_a_script_that_the_command_names_has_to_exist():
    loaded = load_with("exec: {command: python main.py}\n")

    assert codes(loaded) == ["missing_entry"]
    assert "main.py" in loaded.errors[0].message


def test_the_preferred_one_of_several_entrypoints_is_run():
    points = "[{path: a.py, name: other}, {path: b.py, name: main}]"
    manifest = manifest_with(f"entrypoints: {points}\n", files=("a.py", "b.py"))

    assert manifest.entry == "b.py"
