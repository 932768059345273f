"""package.json and its lock: versions from the registry, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.environments.package_file import read_package
from lib.environments.recipe import InstallError, Recipe


def read(package: Any, lock: Any = None, lock_name: str = "package-lock.json") -> Recipe | None:
    files = {"package.json": json.dumps(package).encode()}
    if lock is not None:
        files[lock_name] = json.dumps(lock).encode()
    return read_package(files)


def entry(**fields: Any) -> dict[str, Any]:
    return {
        "version": "1.0.0",
        "resolved": "https://registry.example/one/-/one-1.0.0.tgz",
        "integrity": "sha512-x",
        **fields,
    }


def lock_of(packages: dict[str, Any], version: int = 3) -> dict[str, Any]:
    root = {"": {"dependencies": {"one": "^1.0.0"}}}
    return {"name": "x", "lockfileVersion": version, "packages": root | packages}


@pytest.mark.parametrize(
    "package", [{}, {"type": "module"}, {"dependencies": {}}, {"devDependencies": {"one": "1"}}]
)
def test_a_package_without_dependencies_needs_no_environment(package: Any) -> None:
    assert read(package) is None


@pytest.mark.parametrize(
    "wanted",
    ["1.0.0", "^1.2", "~1", ">=1 <3", "1 || 2", "1.x", "*", "", "latest", "1.0.0-rc.1", "1 - 2",
     "npm:other@^2", "npm:@scope/other@2.0.0"],
)  # fmt: skip
def test_versions_of_every_form_are_kept(wanted: str) -> None:
    found = read({"dependencies": {"one": wanted}})
    assert found is not None
    assert json.loads(found.files["package.json"])["dependencies"] == {"one": wanted}


@pytest.mark.parametrize(
    "wanted",
    ["file:../secret", "file:/etc", "link:../x", "../x", "./x", "/etc", "~/x", "user/repository",
     "github:user/repository", "git+ssh://git@example.com/x.git", "git://example.com/x.git",
     "https://evil.example/x.tgz", "http://169.254.169.254/", "workspace:*", "portal:../x",
     "npm:one@file:../x", "npm:../x", "${SECRET}", "1.0.0\nregistry=x", 1, None, {}],
)  # fmt: skip
@pytest.mark.parametrize(
    "section", ["dependencies", "optionalDependencies", "peerDependencies", "devDependencies"]
)
def test_a_dependency_from_elsewhere_is_refused_by_name(section: str, wanted: Any) -> None:
    package = {"dependencies": {"fine": "1"}, section: {"fine": "1", "one": wanted}}
    with pytest.raises(InstallError, match=rf"{section}\.one"):
        read(package)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "@scope", "@a/b/c", "", "a b", ".bin", "__proto__/x"]
)
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(InstallError, match="name"):
        read({"dependencies": {name: "1"}})


def test_scripts_and_all_that_is_not_needed_are_left_out() -> None:
    found = read(
        {
            "name": "x",
            "scripts": {"preinstall": "touch /tmp/x"},
            "config": {"registry": "https://evil.example"},
            "bin": "../../x",
            "bundleDependencies": ["one"],
            "dependencies": {"one": "1"},
        }
    )
    assert found is not None
    assert json.loads(found.files["package.json"]) == {
        "private": True,
        "dependencies": {"one": "1"},
    }


def test_workspaces_are_refused() -> None:
    with pytest.raises(InstallError, match="workspaces"):
        read({"workspaces": ["../*"], "dependencies": {"one": "1"}})


@pytest.mark.parametrize(
    "overrides", [{"one": "1"}, {"one": {".": "1", "two": "2"}}, {"one@1": "2"}, {"one": "$two"},
                  {"@s/one@^1": "2"}]
)  # fmt: skip
def test_overrides_of_versions_are_kept(overrides: Any) -> None:
    found = read({"dependencies": {"one": "1", "two": "1"}, "overrides": overrides})
    assert found is not None
    assert json.loads(found.files["package.json"])["overrides"] == overrides


@pytest.mark.parametrize(
    "overrides",
    [{"one": "file:../x"}, {"one": {"two": "git+ssh://x"}}, {"one": ["1"]}, [], {"../x": "1"},
     {"one": "$../x"}],
)  # fmt: skip
def test_overrides_from_elsewhere_are_refused(overrides: Any) -> None:
    with pytest.raises(InstallError, match="overrides"):
        read({"dependencies": {"one": "1"}, "overrides": overrides})


def test_a_lock_keeps_versions_and_hashes_and_loses_its_addresses() -> None:
    lock = lock_of({"node_modules/one": entry(), "node_modules/one/node_modules/@s/two": entry()})
    found = read({"dependencies": {"one": "^1.0.0"}}, lock)
    assert found is not None
    assert found.is_pinned
    packages = json.loads(found.files["package-lock.json"])["packages"]
    assert packages["node_modules/one"] == {"version": "1.0.0", "integrity": "sha512-x"}
    assert "registry.example" not in found.files["package-lock.json"]


def test_a_shrinkwrap_counts_before_a_lock() -> None:
    lock = lock_of({"node_modules/one": entry(version="9.9.9")})
    files = {
        "package.json": b'{"dependencies": {"one": "*"}}',
        "package-lock.json": b"not read",
        "npm-shrinkwrap.json": json.dumps(lock).encode(),
    }
    found = read_package(files)
    assert found is not None
    assert "9.9.9" in found.files["package-lock.json"]


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("node_modules/one", entry(resolved="git+ssh://git@example.com/x.git#abc")),
        ("node_modules/one", entry(resolved="file:../secret.tgz")),
        ("node_modules/one", entry(resolved="../secret", link=True)),
        ("node_modules/one", entry(link=True)),
        ("node_modules/one", entry(version="file:../x")),
        ("node_modules/one", {"resolved": "https://registry.example/x"}),
        ("../outside", entry()),
        ("node_modules/../../outside", entry()),
        ("packages/one", entry()),
        ("/etc", entry()),
        ("node_modules/one", "text"),
    ],
)
def test_a_locked_package_from_elsewhere_is_refused(place: str, fields: Any) -> None:
    with pytest.raises(InstallError):
        read({"dependencies": {"one": "1"}}, lock_of({place: fields}))


def test_a_root_entry_of_a_lock_is_held_to_the_same_rules() -> None:
    lock = lock_of({})
    lock["packages"][""]["dependencies"]["evil"] = "file:/etc"
    with pytest.raises(InstallError, match="evil"):
        read({"dependencies": {"one": "1"}}, lock)


@pytest.mark.parametrize("lock", [{}, {"lockfileVersion": 1, "dependencies": {}}, [], "x"])
def test_a_lock_of_an_old_form_is_refused(lock: Any) -> None:
    with pytest.raises(InstallError, match=r"package-lock\.json"):
        read({"dependencies": {"one": "1"}}, lock)


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"[" * 100_000, b'{"dependencies": 1}'])
def test_a_file_that_is_no_package_is_refused(data: bytes) -> None:
    with pytest.raises(InstallError, match=r"package\.json"):
        read_package({"package.json": data})
