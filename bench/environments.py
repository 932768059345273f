"""What dependencies cost: a build, its reuse, and a run that imports them.

The packages are tiny ones from an index on loopback, so that a build's figure
is ours and not a network's: confinement, uv, sealing, the sync. Real packages
for the imports are `requests` and `yaml`, from the index that the environment
names; without one that part is left out and says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from bench.hello import in_turns
from bench.kit import servers
from bench.kit.figures import ms, paired, ratio
from bench.kit.table import table
from lib.environments.environment import Environment
from lib.environments.installers import find_uv
from lib.environments.recipe import InstallError
from lib.sandbox.runtimes import base_python
from lib.settings import load_settings
from tests.e2e.server import ServerProcess
from tests.lib.environments.index import Index, serving
from tests.lib.environments.packages import wheel
from tests.lib.environments.place import Place, requirements

BUILDS = 5
REUSES = 200
ROUNDS = 20
SCRIPT = "import requests, yaml\nprint(requests.__version__, yaml.__version__)\n"
REAL = "requests\npyyaml\n"
MANIFEST = "exec: {warm: %s}\n"


def main() -> str:
    """Measure; return both tables."""
    with tempfile.TemporaryDirectory() as folder, serving() as index:
        index.add(*(wheel(f"tiny{number}") for number in range(BUILDS)), wheel("tiny"))
        builds = build_table(Path(folder), index)
        try:
            runs = run_table(Path(folder))
        except InstallError as error:
            runs = f"Imports were not measured: {str(error).splitlines()[0]}"
    return f"{builds}\n\n{runs}"


def build_table(folder: Path, index: Index) -> str:
    """Compare a confined build with a plain call of uv, and with a reuse."""
    place = Place(folder, index.variables)
    plain: list[float] = []
    built: list[float] = []
    for number in range(BUILDS):
        plain.append(took(lambda n=number: call_uv(folder / f"plain{n}", f"tiny{n}", index)))  # type: ignore[misc]
        built.append(took(lambda n=number: place.install(requirements(f"tiny{n}"))))  # type: ignore[misc]
    place.install(requirements("tiny"))
    reused = [took(lambda: place.install(requirements("tiny"))) for _ in range(REUSES)]
    rows = [
        ("uv pip install, one tiny wheel", ms(plain), "1.00x"),
        ("the same as an environment: confined, sealed, synced", ms(built), ratio(built, plain)),
        ("an environment that is there", ms(reused), ratio(reused[:BUILDS], plain)),
    ]
    return table(["installing", "median", paired("uv alone")], rows)


def call_uv(target: Path, name: str, index: Index) -> None:
    """Install one package as anybody would."""
    uv = find_uv()
    assert uv is not None
    subprocess.run(
        [str(uv), "pip", "install", "--no-config", "--no-cache", f"--python={base_python()}",
         "--compile-bytecode", f"--prefix={target}", name],
        env={"UV_DEFAULT_INDEX": index.url, "HOME": str(target), "PATH": os.defpath},
        check=True,
        capture_output=True,
    )  # fmt: skip


def run_table(folder: Path) -> str:
    """Compare runs that import two packages with a bare start that does."""
    variables = dict(load_settings(dotenv=folder / "none").installer_variables)
    packages = Place(folder / "real", variables).install(requirements(*REAL.split()))
    with prepared_server(folder, variables) as server, servers.connected(server.port) as http:
        took_all = in_turns(
            {
                "bare python, the same environment": lambda: took(lambda: bare(packages)),
                "a run, warm start": lambda: took(lambda: run(http, "warm")),
                "a run, exec.warm: false": lambda: took(lambda: run(http, "cold")),
            },
            rounds=ROUNDS,
        )
    base = next(iter(took_all.values()))
    rows = [(name, ms(each), ratio(each, base)) for name, each in took_all.items()]
    return table(["import requests, yaml; POST to completed", "median", paired("bare")], rows)


@contextmanager
def prepared_server(folder: Path, variables: dict[str, str]) -> Iterator[ServerProcess]:
    """Run a server with both workers, their environment installed."""
    with ServerProcess(folder / "data", port=0, **variables) as server:
        for name, warm in (("warm", "true"), ("cold", "false")):
            server.add_worker(name, MANIFEST % warm, run_py=SCRIPT, requirements_txt=REAL)
        server.reload()
        for name in ("warm", "cold"):
            done = server.run(name)
            if done["status"] != "completed":
                raise InstallError(done["error"]["message"])
        yield server


def bare(packages: Environment) -> None:
    """Start Python as anybody would, with the environment's packages."""
    subprocess.run(
        [str(base_python()), "-c", SCRIPT],
        env={"PATH": os.defpath, "LANG": "C.UTF-8", **packages.variables},
        capture_output=True,
        check=True,
    )


def run(http: HTTPConnection, worker_id: str) -> None:
    """Run a worker from POST to completed."""
    headers = {"content-type": "application/json", "prefer": "wait=25"}
    http.request("POST", f"/workers/{worker_id}/runs", "{}", headers)
    answer = http.getresponse()
    done = json.loads(answer.read())
    assert done["status"] == "completed", done


def took(work: Callable[[], object]) -> float:
    """Return how many seconds something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(main())
