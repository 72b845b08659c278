"""A Python that has heavy packages imported when it starts, for tests of what a process does after its imports.

`forked_python` gives a program that takes a command line as Python does (`-m MODULE …` or `-I FILE …`), so ML_PYTHON
may name it. A server, which has imported the modules, forks a process for each command line; TensorFlow survives a fork
as long as it has not been used. The program passes on environment, folder, standard streams, signals and exit status;
if it is killed, its process dies with it.
"""

import array
import atexit
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

PROJECT = Path(__file__).parents[1]
# What the steps of a retraining import.
STEPS = (
    *("ml.cli", "ml.registry.local", "ml.source.snapshot", "ml.data.validate", "ml.data.split", "ml.training.train"),
    *("ml.judge.evaluate", "ml.judge.decide", "ml.report.evaluation_page", "ml.serve.probe", "ml.champion.promote"),
)
_PROGRAM = """#!{python} -IS
import array, json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    job = json.dumps([sys.argv, dict(os.environ), os.getcwd()]).encode()
    server.sendmsg([len(job).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    server.sendall(job)
    child = int.from_bytes(server.recv(4), "big")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: os.killpg(child, number))
    status = server.recv(1)
if not status:
    os.kill(os.getpid(), signal.SIGKILL)
os._exit(status[0])
"""


@contextmanager
def forked_python(*modules: str) -> Iterator[str]:
    """Yield the program's path; its server ends with the context."""
    with tempfile.TemporaryDirectory(prefix="python-") as folder:
        address, program = f"{folder}/server", Path(folder, "python")
        program.write_text(_PROGRAM.format(python=sys.executable, address=address), encoding="utf-8")
        program.chmod(0o755)
        command = [sys.executable, "-m", "tests.forked_python", address, *modules]
        with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as server:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            try:
                yield str(program)
            finally:
                server.kill()


def _serve(address: str, modules: list[str]) -> None:
    for module in modules:
        import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                try:
                    listener.close()
                    _answer(client)
                finally:  # a client that has been killed meanwhile
                    os._exit(1)
            client.close()


def _answer(client: socket.socket) -> None:
    """Run the client's command line in this process, and tell its status."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, ((_, _, streams),), *_ = client.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    with client.makefile("rb") as job:
        argv, environment, folder = json.loads(job.read(int.from_bytes(size, "big")))
    client.sendall(os.getpid().to_bytes(4, "big"))
    for number, stream in enumerate(array.array("i", streams)):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    threading.Thread(target=_die_with, args=(client,), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(folder)
    status = _run(argv)
    client.sendall(bytes([status]))
    os._exit(status)


def _die_with(client: socket.socket) -> None:
    client.recv(1)
    os.killpg(0, signal.SIGKILL)


def _run(argv: list[str]) -> int:
    program, kind, name, *arguments = argv
    sys.argv = [name if kind == "-I" else program, *arguments]
    run = runpy.run_path if kind == "-I" else runpy.run_module
    try:
        run(name, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = _status_of(end)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _status_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
