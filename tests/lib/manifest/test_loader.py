"""Loading as a whole: messages, strict and lenient, what is left of the broken."""

from __future__ import annotations

import hashlib
from time import perf_counter

import pytest

from lib.manifest.loader import load_manifest
from tests.lib.manifest.loading import HEAD, codes, load, load_with, manifest_with, messages


def test_the_digest_is_of_the_bytes():
    source = (HEAD + "# é\n").encode()

    assert load(source).digest == hashlib.sha256(source).hexdigest()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "limits: {timeout_seconds: 9000}",
            "`limits.timeout_seconds` must be between 1 and 3600; it is 9000.",
        ),
        (
            "exec: {conections: [gmail]}",
            "`exec.conections`: did you mean `connections`? It belongs to the top level.",
        ),
        ("exec: {enty: run.py}", "`exec.enty`: did you mean `entry`?"),
        ("exec: {inputs: [{name: a, tipe: x}]}", "`exec.inputs[0].tipe`: did you mean `type`?"),
        ("limit: {}", "`limit`: did you mean `limits`?"),
        ("colour: red", "`colour` is not a known key; it is ignored."),
        (
            "visibility: privat",
            'of private, workspace; it is "privat" (did you mean private?).',
        ),
        ("calls: [Bad Id]", "`calls[0]` must be a slug: a-z, 0-9, - and _, at most 64;"),
        ("homepage: example.com", "must be an address that starts with https:// or http://;"),
        ("trigger: {type: composio}", "`trigger.event` is missing."),
        (
            "notify: {email_to: [ada]}",
            '`notify.email_to[0]` must be an e-mail address; it is "ada"',
        ),
        ("concurrency: {max: true}", "`concurrency.max` must be a whole number; it is true."),
        ("exec: {entry: nope.py}", "The entry `nope.py` is not among the worker's files."),
        ("description: ''", "`description` must not be empty."),
    ],
)
def test_a_problem_says_where_what_and_what_is_there(written: str, message: str):
    base = HEAD.replace("description: Scores leads.\n", "") if "description" in written else HEAD
    found = messages(load(base + written + "\n"))

    assert any(message in text for text in found), found


def test_strict_errors_are_errors_and_warnings_about_the_shape():
    loaded = load_manifest(
        (
            HEAD
            + "colour: red\nlimits: {memory_mb: 1}\nexec: {inputs: [{name: a, required: true}]}\n"
            + 'trigger: {type: schedule, cron: "@daily"}\n'
        ).encode(),
        worker_id="lead-scorer",
        file_names=["run.py"],
        runtimes=[],
    )

    assert [problem.code for problem in loaded.errors] == ["out_of_range"]
    assert {problem.code for problem in loaded.strict_errors} == {"out_of_range", "unknown_key"}
    assert {problem.code for problem in loaded.warnings} == {
        "unknown_key",
        "blocked_schedule",
        "runtime_missing",
    }


def test_a_host_with_the_runtime_and_one_that_is_not_asked_say_nothing():
    for runtimes in (["python"], None):
        loaded = load_manifest(
            HEAD.encode(), worker_id="lead-scorer", file_names=["run.py"], runtimes=runtimes
        )
        assert loaded.problems == ()


def test_an_agent_needs_no_runtime_of_the_host():
    loaded = load_manifest(
        HEAD.encode(), worker_id="lead-scorer", file_names=["SKILL.md"], runtimes=[]
    )

    assert loaded.problems == ()


def test_beside_its_errors_a_manifest_keeps_what_is_right():
    loaded = load_with("limits: {timeout_seconds: 0, memory_mb: 128}\ntags: [a]\n")

    assert loaded.manifest is not None
    assert len(loaded.errors) == 1
    assert loaded.manifest.limits.timeout_seconds == 300
    assert loaded.manifest.limits.memory_mb == 128
    assert loaded.manifest.tags == ("a",)


@pytest.mark.parametrize(
    ("source", "title"),
    [
        (HEAD, "Lead scorer"),
        ("title: Best effort\nexec: [\n", "Best effort"),
        ("name: 'Legacy name'\nexec: [\n", "Legacy name"),
        ("title: [\n", "lead-scorer"),
        ("name: My worker\n", "My worker"),
        ("", "lead-scorer"),
        (b"\xff\xfe", "lead-scorer"),
        ("title: " + "x" * 200 + "\nexec: [\n", "x" * 119 + "…"),
    ],
)
def test_a_broken_manifest_is_listed_by_its_title_or_its_id(source: str | bytes, title: str):
    assert load(source).title == title


def test_the_folders_name_is_the_id():
    loaded = load("name: other-name\n" + HEAD)

    assert loaded.manifest is not None
    assert loaded.manifest.id == "lead-scorer"
    assert codes(loaded) == ["name_mismatch"]


def test_of_many_problems_the_first_are_listed_and_the_rest_counted():
    loaded = load_with("".join(f"key{number}: 1\n" for number in range(150)))

    assert len(loaded.warnings) == 101
    assert loaded.warnings[-1].code == "too_many_problems"
    assert "50 more" in loaded.warnings[-1].message


def test_many_warnings_never_hide_an_error():
    unknown = "".join(f"key{number}: 1\n" for number in range(150))
    loaded = load_with(unknown + "visibility: nobody\n")

    assert [problem.code for problem in loaded.errors] == ["unknown_word"]


def test_a_lifted_key_points_to_where_it_is_written():
    loaded = load_with("inputs:\n  - {name: a}\n  - {name: a}\n")

    duplicate = next(problem for problem in loaded.problems if problem.code == "duplicate_name")
    assert (duplicate.pointer, duplicate.line) == ("/inputs/1/name", 7)


def test_a_manifest_cannot_be_changed():
    manifest = manifest_with("")

    with pytest.raises(ValueError, match="frozen"):
        manifest.title = "Other"  # type: ignore[misc]


def test_inputs_and_outputs_are_found_by_name():
    manifest = manifest_with("exec: {inputs: [{name: a}], outputs: [{name: b}]}\n")

    found_input, found_output = manifest.find_input("a"), manifest.find_output("b")
    assert found_input is not None
    assert found_output is not None
    assert (found_input.name, found_output.name) == ("a", "b")
    assert manifest.find_input("b") is None
    assert manifest.find_output("a") is None


def test_values_of_a_manifest_are_ordinary_json():
    manifest = manifest_with(
        "exec: {inputs: [{name: a, type: json, default: {b: [1]}}]}\n"
        "example_input: {a: {c: [2]}}\nexample_output: [{d: 1}]\n"
    )
    spec = manifest.find_input("a")

    assert spec is not None
    assert type(spec.default) is dict
    assert type(manifest.example_input["a"]) is dict
    assert type(manifest.example_output) is list


@pytest.mark.parametrize("name", ["decision", "approved_output", "review_feedback", "event"])
def test_an_input_that_the_engine_sets_never_has_to_be_given(name: str):
    manifest = manifest_with(f"exec: {{inputs: [{{name: {name}, required: true}}]}}\n")

    spec = manifest.find_input(name)
    assert spec is not None
    assert spec.is_reserved
    assert not spec.must_be_given


def test_expiry_may_approve_only_where_one_vote_of_anybody_decides():
    assert codes(load_with("approvals: {on_expire: approve}\n")) == []
    for more in ("approvers: [ada@example.com]", "required_approvals: 2"):
        loaded = load_with(f"approvals: {{on_expire: approve, {more}}}\n")
        assert [problem.code for problem in loaded.errors] == ["unsafe_expiry"]


def test_five_hundred_manifests_load_fast():
    """Measured 0.25 s on one core; the bound leaves room for a busy machine."""
    inputs = "".join(
        f"    - name: input_{number}\n      type: string\n      label: A label\n"
        "      description: What this is about, in a sentence.\n      default: text\n"
        for number in range(8)
    )
    source = HEAD + "use_cases: [a, b]\nconnections: [gmail]\nexec:\n  inputs:\n" + inputs
    started = perf_counter()

    for _ in range(500):
        assert load(source).problems == ()
    assert perf_counter() - started < 5.0


PRODUCTS = {
    "inputs and schedules": "exec:\n  inputs:\n"
    + "".join(f"  - {{name: a{number}, required: true}}\n" for number in range(4000))
    + "triggers:\n"
    + '- {type: schedule, cron: "@daily"}\n' * 4000,
    "inputs and examples": "exec:\n  inputs:\n"
    + "".join(f"  - {{name: a{number}}}\n" for number in range(4000))
    + "example_input:\n"
    + "".join(f"  b{number}: 1\n" for number in range(10_000)),
    "unknown keys": "".join(f"conection{number}: 1\n" for number in range(20_000)),
    "choices and defaults": "exec:\n  inputs:\n"
    f"  - {{name: a, type: select, default: z, enum: [{'b, ' * 40_000}]}}\n",
    "a long command": f"exec: {{command: '{'a ' * 500_000}'}}\n",
    "a long version": f"version: 1.0.0-{'a.' * 500_000}!\n",
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_no_manifest_within_the_cap_takes_long(name: str):
    started = perf_counter()
    loaded = load('schema_version: "0.3"\n' + PRODUCTS[name])

    assert loaded.errors
    assert perf_counter() - started < 5.0


@pytest.mark.parametrize("text", [HEAD, "[", ""])
def test_a_reserved_id_is_an_error_of_any_manifest(text: str):
    loaded = load_manifest(text.encode(), worker_id="reload", file_names=["run.py"])

    assert loaded.errors[0].code == "reserved_worker_id"
    assert "No worker can be called reload" in loaded.errors[0].message
    assert loaded.errors[0] in loaded.strict_errors
