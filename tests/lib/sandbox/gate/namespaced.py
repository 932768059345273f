"""Runs a script in a network namespace of its own, with a gate outside of it.

Arguments, as JSON: settings, names, places, script. The script's arguments are
the ports of the two listeners.
"""

import json
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from lib.sandbox import loopback, namespaces, syscalls
from lib.sandbox.gate import process
from lib.sandbox.gate.settings import proxy_variables
from tests.lib.sandbox.gate import settings_json
from tests.lib.sandbox.gate.loopback_network import internet

PORTS = (8_080, 8_081)


def be_worker(channel, script):
    syscalls.call("unshare", namespaces.NETWORK)
    loopback.bring_up()
    listeners = [socket.create_server((loopback.ADDRESS, port)) for port in PORTS]
    socket.send_fds(channel, [b"\0"], [each.fileno() for each in listeners])
    for each in listeners:
        each.close()
    arguments = [sys.executable, "-c", script, *map(str, PORTS)]
    os.execve(sys.executable, arguments, {**proxy_variables(PORTS[1]), "PATH": os.environ["PATH"]})  # noqa: S606, TID251


def main():
    given = json.loads(sys.argv[1])
    for name, answer in given["names"].items():
        internet.name(name, answer)
    for address, port, real_port in given["places"]:
        internet.serve(address, port, real_port)
    near, far = socket.socketpair()
    worker = os.fork()
    if worker == 0:
        be_worker(far, given["script"])
    api, proxy = loopback.receive_listeners(near, len(PORTS))
    parent = os.getpid()
    if os.fork() == 0:
        settings = settings_json.load(given["settings"])
        process.run(settings, api=api, proxy=proxy, notices=None, parent_pid=parent)
    os.waitpid(worker, 0)


main()
