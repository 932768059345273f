"""Tiny packages, made in memory: wheels, source distributions, npm tarballs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any

BACKEND = """
import os, zipfile
{code}
META = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"

def build_wheel(folder, settings=None, metadata=None):
    at_build()
    file = "{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
        wheel.writestr("{name}.py", RESULT)
        wheel.writestr("{name}-{version}.dist-info/METADATA", META)
        wheel.writestr("{name}-{version}.dist-info/WHEEL", WHEEL)
        wheel.writestr("{name}-{version}.dist-info/RECORD", "")
    return file
"""


def wheel(
    name: str,
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    *,
    requires: tuple[str, ...] = (),
    scripts: Mapping[str, str] | None = None,
) -> tuple[str, bytes]:
    """Return file name and bytes of a pure wheel; `scripts` are console scripts."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    contents = {
        **({f"{name}.py": f"VERSION = {version!r}\n"} if files is None else files),
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    if scripts:
        lines = "".join(f"{each} = {target}\n" for each, target in scripts.items())
        contents[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}"
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return f"{name}-{version}-py3-none-any.whl", data.getvalue()


def sdist(name: str, version: str = "1.0", code: str = "RESULT = ''") -> tuple[str, bytes]:
    """Return a source distribution with a build backend of its own.

    Args:
        name: Of the distribution and of its module.
        version: Of the distribution.
        code: Runs at the build; may define `at_build`, and sets RESULT, the
            source of the module that is built.
    """
    if "def at_build" not in code:
        code += "\ndef at_build(): pass\n"
    files = {
        "backend.py": BACKEND.replace("{code}", code)
        .replace("{name}", name)
        .replace("{version}", version),
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
        f'backend-path = ["."]\n[project]\nname = "{name}"\nversion = "{version}"\n',
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    return f"{name}-{version}.tar.gz", _tar({f"{name}-{version}/{n}": t for n, t in files.items()})


def npm_package(
    name: str, version: str = "1.0.0", files: Mapping[str, str] | None = None, **fields: Any
) -> tuple[str, dict[str, Any], bytes]:
    """Return a package's name, its manifest and its tarball."""
    manifest = {"name": name, "version": version, "main": "index.js", **fields}
    contents = {"package.json": json.dumps(manifest)}
    contents |= files or {"index.js": f"module.exports = '{name} {version}'"}
    return name, manifest, _tar({f"package/{path}": text for path, text in contents.items()})


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return "sha256=" + digest.rstrip(b"=").decode()


def _tar(files: Mapping[str, str]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(text.encode()), 0o644
            archive.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()
