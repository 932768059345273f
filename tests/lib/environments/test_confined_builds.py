"""What the code of a package that is being built can reach: nothing but its folder."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lib.environments.recipe import InstallError
from lib.sandbox.probe import probe
from tests.lib.environments.index import Index, serving
from tests.lib.environments.install_hampered import REFUSED
from tests.lib.environments.packages import sdist, wheel
from tests.lib.environments.place import Place, Recorded, requirements, run_python

# The module that is built tells what its build could do.
LOOK = """
import json, os, socket
SEEN = {}
def attempt(name, action):
    try:
        SEEN[name] = repr(action())
    except BaseException as error:
        SEEN[name] = type(error).__name__
def write(path):
    with open(path, "w") as file:
        file.write("x")
    return "written"
def connect(port):
    socket.create_connection(("127.0.0.1", port), 3).close()
    return "connected"
def by_proxy(target):
    host, _, port = os.environ["HTTPS_PROXY"].rpartition("/")[2].partition(":")
    proxy = socket.create_connection((host, int(port)), 3)
    proxy.sendall(f"CONNECT {target} HTTP/1.1\\r\\n\\r\\n".encode())
    return proxy.recv(100).split(b"\\r\\n")[0]
def at_build():
    global RESULT
    attempt("secret", lambda: open(SECRET).read())
    attempt("list", lambda: os.listdir(DATA))
    attempt("beside", lambda: write(OUTSIDE))
    attempt("usr", lambda: write("/usr/floom-was-here"))
    attempt("shadow", lambda: open("/etc/shadow").read())
    attempt("loopback", lambda: connect(PORT))
    attempt("proxy to loopback", lambda: by_proxy(f"127.0.0.1:{PORT}"))
    attempt("proxy to a name of it", lambda: by_proxy(f"localhost:{PORT}"))
    attempt("proxy to metadata", lambda: by_proxy("169.254.169.254:80"))
    attempt("proxy to the index", lambda: by_proxy(INDEX))
    attempt("uid", os.getuid)
    attempt("processes", lambda: len([n for n in os.listdir("/proc") if n.isdigit()]) < 12)
    attempt("privileges", lambda: os.setuid(0))
    attempt("environment", lambda: [n for n in os.environ if "SECRET" in n])
    RESULT = "SEEN = " + repr(SEEN)
"""


@pytest.fixture
def confinement() -> None:
    found = probe(["/bin/sh"])
    if not (found.is_whole and found.layers.network):
        pytest.skip("this host cannot confine")


confined = pytest.mark.usefixtures("confinement")
weaker = pytest.mark.parametrize("isolation", ["require", "best_effort"])


@confined
def test_a_build_reaches_nothing_but_its_folder_and_the_index(tmp_path: Path, index: Index) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    data.mkdir()
    outside.mkdir(mode=0o777)
    (data / "secret").write_text("the secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = {
            "SECRET": str(data / "secret"),
            "DATA": str(data),
            "OUTSIDE": str(outside / "file"),
            "PORT": server.getsockname()[1],
            "INDEX": f"127.0.0.1:{index.port}",
        }
        code = "".join(f"{name} = {value!r}\n" for name, value in facts.items()) + LOOK
        index.add(sdist("curious", code=code))
        place = Place(data, {**index.variables, "PIP_SECRET": "x"}, isolation="require")
        customer = Recorded()
        found = place.install(requirements("curious", source_builds=True), customer=customer)
    seen = json.loads(run_python(found, "import curious, json; print(json.dumps(curious.SEEN))"))
    assert seen["secret"] == "FileNotFoundError"
    assert seen["beside"] in ("FileNotFoundError", "PermissionError", "OSError")
    assert not list(outside.iterdir())
    assert seen["list"] in ("FileNotFoundError", "PermissionError", repr(["environments"]))
    assert seen["usr"] in ("OSError", "PermissionError")
    assert seen["shadow"] in ("FileNotFoundError", "PermissionError")
    assert seen["loopback"] in ("ConnectionRefusedError", "PermissionError")
    assert "403" in seen["proxy to loopback"]
    assert "403" in seen["proxy to a name of it"]
    assert "403" in seen["proxy to metadata"]
    assert "200" in seen["proxy to the index"]
    assert seen["processes"] == "True"
    assert seen["privileges"] in ("PermissionError", "OSError")
    assert seen["environment"] == "[]"
    assert (
        "egress refused: 169.254.169.254:80 leads to 169.254.169.254: not public" in customer.text
    )
    if os.geteuid() == 0:
        assert int(seen["uid"]) >= 50_000


def test_wheels_need_no_confinement_where_there_is_none(tmp_path: Path, index: Index) -> None:
    done = hampered(tmp_path, index, landlock=False)
    assert done.returncode == 0, done.stderr
    assert "not confined" in done.stdout


@confined
def test_another_private_host_is_reached_once_the_operator_names_it(
    tmp_path: Path, index: Index
) -> None:
    with serving() as other:
        index.files_at = f"http://127.0.0.1:{other.port}"
        other.files = index.files
        place = Place(tmp_path, index.variables, isolation="require")
        customer = Recorded()
        with pytest.raises(InstallError):
            place.install(requirements("plain"), customer=customer)
        assert f"127.0.0.1:{other.port} leads to 127.0.0.1: not public" in customer.text
        assert "UV_FIND_LINKS" in customer.text
        assert other.asked == []

        named = {**index.variables, "UV_INDEX": other.url}
        Place(tmp_path, named, isolation="require").install(requirements("plain"))
        assert any(path.startswith("/files/plain-") for path in other.asked)


@confined
def test_the_network_s_own_proxy_is_asked_with_its_password(tmp_path: Path, index: Index) -> None:
    # The index stands for the proxy: it takes whole addresses as well.
    variables = {
        "UV_DEFAULT_INDEX": "http://packages.example/simple",
        "http_proxy": f"http://ada:topsecret@127.0.0.1:{index.port}",
    }
    customer = Recorded()
    place = Place(tmp_path, variables, isolation="require")
    place.install(requirements("plain"), customer=customer)
    assert index.asked[0] == "http://packages.example/simple/plain/"
    assert index.proxy_credentials == {"Basic " + base64.b64encode(b"ada:topsecret").decode()}
    assert "topsecret" not in customer.text


@weaker
def test_nothing_is_built_where_nothing_can_be_confined(
    tmp_path: Path, index: Index, isolation: str
) -> None:
    done = hampered(tmp_path, index, landlock=False, source_builds=True, isolation=isolation)
    assert done.returncode == REFUSED, done.stderr
    assert "FLOOM_SANDBOX=off" in done.stdout
    assert "exec.source_builds" in done.stdout


@weaker
def test_where_namespaces_are_refused_nothing_is_built(
    tmp_path: Path, index: Index, isolation: str
) -> None:
    """Without a network of its own a build could talk to anybody."""
    tmp_path.chmod(0o755)
    index.add(sdist("built", code="RESULT = ''"))
    done = hampered(tmp_path, index, wanted="built", source_builds=True, isolation=isolation)
    assert done.returncode == REFUSED, done.stdout + done.stderr
    assert "exec.source_builds" in done.stdout


def test_console_scripts_can_be_executed_there_too(tmp_path: Path, index: Index) -> None:
    index.add(wheel("tool", files={"tool.py": "def main(): pass"}, scripts={"tool": "tool:main"}))
    done = hampered(tmp_path, index, wanted="tool")
    assert done.returncode == 0, done.stderr
    (script,) = tmp_path.glob("environments/*/packages/bin/tool")
    assert script.stat().st_mode & 0o111 == 0o111


def hampered(root: Path, index: Index, **options: object) -> subprocess.CompletedProcess[str]:
    """Install where a container's profile refuses namespaces, and perhaps Landlock too."""
    given = {
        "root": str(root),
        "variables": index.variables,
        "landlock": True,
        "wanted": "plain",
        "source_builds": False,
        "isolation": "require",
        **options,
    }
    program = Path(__file__).with_name("install_hampered.py")
    return subprocess.run(
        [sys.executable, str(program), json.dumps(given)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@confined
def test_a_package_that_replaces_its_folder_by_a_link_changes_no_file_of_the_host(
    place: Place, index: Index, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    code = (
        "import os\n"
        "def at_build():\n"
        "    target = os.environ['HOME'] + '/../packages'\n"
        f"    os.rename(target, target + '.gone'); os.symlink({str(victim)!r}, target)\n"
        "RESULT = ''"
    )
    index.add(sdist("evil", code=code))
    with pytest.raises(InstallError):
        place.install(requirements("evil", source_builds=True))
    assert victim.stat().st_mode & 0o777 == 0o700
    assert place.names() == set()


@pytest.mark.parametrize(
    "trick",
    [
        "os.symlink('/etc/passwd', p + '/x')",
        "os.symlink('../../../../x', p + '/x')",
        "os.mkfifo(p + '/x')",
    ],
)
@confined
def test_what_a_build_leaves_among_the_packages_is_looked_at(
    place: Place, index: Index, trick: str
) -> None:
    code = f"import os\ndef at_build():\n    p = os.environ['HOME'] + '/../packages'\n    {trick}\nRESULT = ''"
    index.add(sdist("evil", code=code))
    with pytest.raises(InstallError, match="The packages hold"):
        place.install(requirements("evil", source_builds=True))
    assert place.names() == set()


@confined
def test_processes_that_a_build_leaves_behind_are_ended(place: Place, index: Index) -> None:
    code = (
        "import subprocess, time\n"
        "def at_build():\n"
        "    null = subprocess.DEVNULL\n"
        "    subprocess.Popen(['sleep', '987654'], start_new_session=True, stdout=null, stderr=null)\n"
        "RESULT = ''"
    )
    index.add(sdist("daemon", code=code))
    place.install(requirements("daemon", source_builds=True))
    assert not any(b"987654" in line for line in _command_lines())


def _command_lines() -> list[bytes]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ends while we look
            lines.append(path.read_bytes())
    return lines
