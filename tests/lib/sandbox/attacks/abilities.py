"""What an honest worker does; run inside the confinement, standard library only.

Prints a line `{"name", "verdict", "detail"}` for each ability: `works` or `fails`.
"""

# A worker makes the calls themselves, and prints what came of them.
# ruff: noqa: PTH101, PTH103, PTH104, PTH109, PTH110
# ruff: noqa: PTH123, PTH211, PLW1510, T201
from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import shutil
import socket
import sqlite3  # noqa: TID251 - a worker looks
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

ABILITIES: dict[str, Callable[[], object]] = {}


def ability(function: Callable[[], object]) -> Callable[[], object]:
    ABILITIES[function.__name__] = function
    return function


@ability
def work_in_home() -> None:
    assert os.getcwd() == os.environ["HOME"]  # noqa: TID251 - a worker looks
    os.makedirs("out/deep", exist_ok=True)
    Path("out/deep/file").write_text("x")
    os.rename("out/deep/file", "out/file")
    os.symlink("file", "out/link")
    os.mkfifo("out/pipe")
    shutil.copy("out/file", "out/copy")
    os.chmod("out/copy", 0o700)
    os.truncate("out/copy", 0)
    shutil.rmtree("out")


@ability
def copy_with_times() -> None:
    Path("original").write_text("x")
    with open("original") as file:
        os.utime(file.fileno(), (86_400, 86_400))
        assert os.fstat(file.fileno()).st_mtime == 86_400
    assert Path(shutil.copy2("original", "copied")).read_text() == "x"
    os.makedirs("tree/deep", mode=0o1777)
    shutil.copytree("tree", "tree-copied")


@ability
def copy_and_pack_with_shell() -> None:
    script = (
        "set -e; mkdir -p shell/a; echo x > shell/a/f; touch -d @86400 shell/a/f;"
        "cp -r --preserve=timestamps shell shell2; install -m 755 shell/a/f shell2/g; mktemp -d -p . >/dev/null;"
        "tar -cf shell.tar shell; mkdir out2; tar -xpf shell.tar -C out2; cat out2/shell/a/f;"
        "nice -n 1 true; if command -v ionice >/dev/null; then ionice -c 3 true; fi"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("x\n", ""), done


@ability
def use_git() -> None:
    if shutil.which("git"):
        script = (
            "set -e; export GIT_CONFIG_NOSYSTEM=1; git init -q code; cd code; echo x > f; chmod +x f; git add f;"
            "git -c user.name=a -c user.email=a@b commit -qm m; git status --porcelain;"
            "git clone -q . ../code2; cat ../code2/f"
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert (done.stdout, done.returncode) == ("x\n", 0), done


@ability
def be_somebody() -> None:
    import pwd

    if os.path.exists("/etc/passwd"):
        assert pwd.getpwuid(os.getuid()).pw_dir == os.environ["HOME"]  # noqa: TID251 - a worker looks


@ability
def use_threads() -> None:
    found: list[int] = []
    threads = [threading.Thread(target=found.append, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(found) == list(range(8))


@ability
def use_processes() -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=theirs.send, args=(42,))
    process.start()
    assert ours.recv() == 42
    process.join()


@ability
def use_process_pool() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]


@ability
def use_spawned_process() -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
    process.start()
    process.join()
    assert process.exitcode == 0


@ability
def use_subprocess() -> None:
    done = subprocess.run(["bash", "-c", "echo a | cat; exit 3"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("a\n", 3)


@ability
def use_process_substitution() -> None:
    done = subprocess.run(["bash", "-c", "cat <(echo a)"], capture_output=True, text=True)
    assert done.stdout == "a\n", done


@ability
def use_asyncio() -> None:
    async def main() -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print(1)", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        await asyncio.to_thread(time.sleep, 0)
        return (await process.communicate())[0]

    assert asyncio.run(main()) == b"1\n"


@ability
def use_socket_pair() -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(b"x")
    assert theirs.recv(1) == b"x"


@ability
def serve_on_own_loopback() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(("localhost", server.getsockname()[1]))
        client.sendall(b"x")
        assert server.accept()[0].recv(1) == b"x"


@ability
def use_temporary_files() -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"x")


@ability
def use_sqlite() -> None:
    with sqlite3.connect("own.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()


@ability
def verify_certificates() -> None:
    context = ssl.create_default_context()
    if os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        assert context.cert_store_stats()["x509_ca"] > 0


@ability
def tell_time_and_toss_coins() -> None:
    assert time.time() > 1e9
    assert len(os.urandom(8)) == 8
    with open("/dev/urandom", "rb") as file:
        assert file.read(4)
    random.SystemRandom().random()
    Path("/dev/null").write_text("x")


@ability
def know_the_machine() -> None:
    assert (os.cpu_count() or 0) > 0
    assert "MemTotal" in Path("/proc/meminfo").read_text()
    assert Path("/proc/self/status").read_text()


@ability
def write_to_named_streams() -> None:
    done = subprocess.run(["bash", "-c", "echo a > /dev/stderr"], capture_output=True, text=True)
    assert done.stderr == "a\n", done


@ability
def run_node() -> None:
    if node := shutil.which("node"):
        program = (
            "const os=require('os');const cp=require('child_process');"
            "const {Worker}=require('worker_threads');"
            "const w=new Worker('require(\"worker_threads\").parentPort.postMessage(1)',{eval:true});"
            "w.on('message',()=>{console.log(os.cpus().length>0,"
            "cp.execSync('echo hi').toString().trim(),"
            "require('crypto').randomBytes(2).length)})"
        )
        done = subprocess.run([node, "-e", program], capture_output=True, text=True)
        assert done.stdout == "true hi 2\n", done


@ability
def handle_files_with_node() -> None:
    if node := shutil.which("node"):
        program = (
            "const fs=require('fs');fs.mkdirSync('n/deep',{recursive:true});"
            "fs.writeFileSync('n/f','x',{mode:0o600});fs.copyFileSync('n/f','n/g');"
            "fs.utimesSync('n/g',1,1);fs.chmodSync('n/g',0o644);"
            "fs.cpSync('n','m',{recursive:true,preserveTimestamps:true});"
            "fs.mkdtempSync('t-');console.log(fs.readFileSync('m/g','utf8'))"
        )
        done = subprocess.run([node, "-e", program], capture_output=True, text=True)
        assert done.stdout == "x\n", done


@ability
def die_of_a_signal() -> None:
    done = subprocess.run(["bash", "-c", "kill -TERM $$"])
    assert done.returncode == -15


def judge(name: str) -> dict[str, str]:
    try:
        ABILITIES[name]()
    except BaseException:  # noqa: BLE001
        return {"name": name, "verdict": "fails", "detail": traceback.format_exc()[-600:]}
    return {"name": name, "verdict": "works", "detail": ""}


if __name__ == "__main__":
    for each in sys.argv[2:] or list(ABILITIES):
        print(json.dumps(judge(each)), flush=True)
