"""Stands for a run's supervisor: forks one gate, and ends when it is told to.

Arguments, as JSON: settings, names, places. Prints the gate's pid, the ports of
its two listeners, then what the gate tells. Ends at the end of stdin.
"""

import json
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from lib.sandbox.gate import process
from tests.lib.sandbox.gate import settings_json
from tests.lib.sandbox.gate.loopback_network import internet


class NothingToRead:
    """Refuses to load a module once root is left: its file may be out of reach."""

    def find_spec(self, name, *_):
        if os.geteuid() != 0:
            sys.stderr.write(f"{name} was loaded too late\n")
            os._exit(3)


def main():
    given = json.loads(sys.argv[1])
    for name, answer in given.get("names", {}).items():
        internet.name(name, answer)
    for address, port, real_port in given.get("places", []):
        internet.serve(address, port, real_port)
    api, proxy = (socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2))
    held = os.open("/dev/null", os.O_RDONLY)  # as a supervisor holds its own descriptors
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0 and given["settings"]["uid"]:
            sys.meta_path.insert(0, NothingToRead())
        settings = settings_json.load(given["settings"])
        process.run(settings, api=api, proxy=proxy, notices=writer, parent_pid=parent)
    os.close(writer)
    os.close(held)
    ports = [listener.getsockname()[1] for listener in (api, proxy)]
    sys.stdout.write(json.dumps([pid, *ports]) + "\n")
    sys.stdout.flush()
    if sys.stdin.buffer.read(1):
        sys.stdout.buffer.write(os.read(reader, 65_536))
        sys.stdout.buffer.flush()


main()
