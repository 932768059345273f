"""The error codes that the engine itself gives to runs, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lib.runs.preparation import PreparationError
from tests.docs.pages import ROOT

FOLDERS = ("lib/runs", "lib/sandbox")
# Calls whose first argument is a code; the supervisor's `_end` names a limit.
MAKERS = {"RunError", "ResultProblem", "_failed", "_end"}
NO_FAILURE = {"cancel"}
# First arguments without a code in them: what other makers were given, kinds of
# PreparationError, `_limit_error`'s table; and `_failed(run, ...)` of the state machine.
INDIRECT = {"code", "problem.code", "error.code", "run"}


def engine_codes() -> set[str]:
    """Return every code that a run can fail with, the worker's own ones aside."""
    written = {text for code in _codes() for text in _texts(code)}
    kinds: list[type[PreparationError]] = [PreparationError, *PreparationError.__subclasses__()]
    prepared = {kind.code for kind in kinds}
    return (written | prepared | set(_limits())) - NO_FAILURE


def indirect_codes() -> set[str]:
    """Return how codes are named that do not stand where they are used."""
    return {ast.unparse(code) for code in _codes() if not list(_texts(code))}


def _codes() -> Iterator[ast.expr]:
    for node in _nodes():
        if isinstance(node, ast.Call) and node.args and _name(node.func) in MAKERS:
            yield node.args[0]


def _limits() -> Iterator[str]:
    for node in _nodes():
        if isinstance(node, ast.FunctionDef) and node.name == "_limit_error":
            for each in ast.walk(node):
                if isinstance(each, ast.Dict):
                    yield from (text for key in each.keys if key for text in _texts(key))


def _nodes() -> Iterator[ast.AST]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.py")):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _texts(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):  # `code or "execution_error"` has one too
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value
