"""A Python that has heavy packages imported when it starts, for tests of what a process does after its imports.

`forked_python` gives a program that takes a command line as Python does (`-m MODULE …`, `-c CODE …`, `-I FILE …` or
`-P FILE …`), so ML_PYTHON may name it; the Pythons that its process starts are such processes, too. `worker_of` gives
the same for the workers of pytest-xdist, which start Pythons that import for themselves. A server, which
imports the modules when it is first asked, forks a process for each command line; TensorFlow survives a fork as long as
it has not been used. The program passes on environment, folder, standard streams, signals and exit status; if it is
killed, its process dies with it.
"""

import array
import atexit
import gc
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import tomllib
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import SimpleNamespace
from typing import NoReturn
from unittest.mock import patch
from weakref import finalize

from _pytest.config import parse_warning_filter

PROJECT = Path(__file__).parents[1]
# What steps and the servers of models import.
STEPS = (
    *("ml.cli", "ml.registry.local", "ml.source.snapshot", "ml.data.validate", "ml.data.split", "ml.training.train"),
    *("ml.judge.evaluate", "ml.judge.decide", "ml.report.evaluation_page", "ml.serve.probe", "ml.champion.promote"),
    *("ml.scoring.score", "ml.fingerprint:code_version", "ml.fingerprint:library_versions"),
    *("tensorflow", "tensorflow_text"),
)
# What tests import beside that, of other people's and slow. W&B's models look through all modules for their own source:
# they come first, when those are few.
TESTS = (
    *("wandb.apis.public", "wandb.cli.cli", "wandb.sdk.launch.inputs.internal", "wandb_workspaces.reports.v2"),
    *("wandb.sdk.artifacts._models.pagination", "tests.forked_python:queries_of_wandb"),
    "tests.forked_python:media_folder_of_wandb",
    *("gcsfs", "kubernetes", "kubernetes_asyncio", "kagglesdk.kaggle_client"),
    *("libcst", "pendulum", "playwright.sync_api", "sqlalchemy.orm"),
)
_kept: list[type] = []
# To import `socket`, `signal` and `json` would take most of its time: it uses what is built into Python alone.
_PROGRAM = """#!{python} -IS
import _signal, _socket, os, sys
handed_on = _signal.SIGTERM, _signal.SIGINT
_signal.pthread_sigmask(_signal.SIG_BLOCK, handed_on)  # until there is a process to hand them on to
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
sys.argv[1:1] = {words!r}
environment = [name + b"=" + value for name, value in os.environb.items()]
job = b"\\0".join([b"%d" % len(sys.argv), *map(os.fsencode, sys.argv), os.getcwdb(), *environment])
streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
server.sendmsg([len(job).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(job)
child = int.from_bytes(server.recv(4), "big")
for number in handed_on:
    _signal.signal(number, lambda number, frame: os.killpg(child, number))
_signal.pthread_sigmask(_signal.SIG_UNBLOCK, handed_on)
status = server.recv(1)
if not status:
    os.kill(os.getpid(), _signal.SIGKILL)
os._exit(status[0])
"""


@contextmanager
def forked_python(*modules: str, name: str = "python", words: Sequence[str] = ()) -> Iterator[str]:
    """Yield the program's path; its server ends with the context.

    `MODULE:FUNCTION` is imported and called. The words come before those of each command line.
    """
    with tempfile.TemporaryDirectory(prefix="python-") as folder:
        address, program = f"{folder}/server", Path(folder, name)
        text = _PROGRAM.format(python=sys.executable, address=address, words=list(words))
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        command = [sys.executable, "-m", "tests.forked_python", address, *modules]
        with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            try:
                yield str(program)
            finally:
                server.kill()


@contextmanager
def serving_by(python: str) -> Iterator[None]:
    """Let this Python run the servers of models while the context lasts."""
    with patch("ml.serve.server_process.sys", SimpleNamespace(executable=python)):
        yield


def queries_of_wandb() -> None:
    """Import all that W&B's client may ask its server, and keep what it makes of that for each question anew."""
    for package in map(import_module, ("wandb.apis._generated", "wandb.sdk.artifacts._generated")):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    from wandb._pydantic import Connection
    from wandb.apis._generated.fragments import ProjectFragment
    from wandb.apis.public.artifacts import _ArtifactConnectionGeneric
    from wandb.sdk.artifacts._generated.fragments import ArtifactAliasFragment, ArtifactFragment

    _kept.extend((Connection[ArtifactAliasFragment], Connection[ProjectFragment]))
    _kept.append(_ArtifactConnectionGeneric[ArtifactFragment])


def media_folder_of_wandb() -> None:
    """Let no process remove at its end the folder that W&B's client has made for the media of all."""
    from wandb.sdk.data_types._private import MEDIA_TMP

    atexit.unregister(MEDIA_TMP.cleanup)


def worker_of(python: str) -> str:
    """Give the program a second name, by which its process is a worker of pytest-xdist."""
    worker = Path(python).with_name("worker")
    worker.symlink_to(python)
    return str(worker)


def _serve(address: str, modules: list[str]) -> None:
    """Answer each client in a process of its own until the tests, which hold the other end of the input, have ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.set_threshold(50_000)  # as in tests/conftest.py
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
            with _warnings_as_in_tests():
                while modules:
                    _load(modules.pop(0))
            gc.freeze()  # no process looks through all that the modules hold
            for kept in tuple(finalize._registry):  # type: ignore[attr-defined]
                kept.atexit = False  # nor removes at its end what they have made for all
            client, _ = listener.accept()
            if os.fork() == 0:
                try:
                    listener.close()
                    _answer(client)
                finally:  # a client that has been killed meanwhile
                    os._exit(1)
            client.close()


@contextmanager
def _warnings_as_in_tests() -> Iterator[None]:
    """Raise at an import what the tests' own settings would: what a worker has of its server it does not import."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    with warnings.catch_warnings():
        for each in settings["filterwarnings"]:
            warnings.filterwarnings(*parse_warning_filter(each, escape=False))
        yield


def _load(what: str) -> None:
    module, _, function = what.partition(":")
    loaded = import_module(module)
    if function:
        getattr(loaded, function)()


def _answer(client: socket.socket) -> None:
    """Run the client's command line in this process, and tell its status."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, ((_, _, streams),), *_ = client.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    with client.makefile("rb") as job:
        argv, folder, environment = _parts(job.read(int.from_bytes(size, "big")))
    client.sendall(os.getpid().to_bytes(4, "big"))
    for number, stream in enumerate(array.array("i", streams)):
        os.dup2(stream, number)
        os.close(stream)
    by_line = 1 if b"PYTHONUNBUFFERED" in environment else -1
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", by_line, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    threading.Thread(target=_die_with, args=(client,), daemon=True).start()
    os.environ.clear()
    os.environb.update(environment)
    tempfile.tempdir = None
    os.chdir(folder)
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    _tell_status(client)
    os._exit(_run(argv))


def _parts(job: bytes) -> tuple[list[str], bytes, dict[bytes, bytes]]:
    """Take the command line, the folder and the environment apart that a program has sent."""
    words, *rest = job.split(b"\0")
    argv, (folder, *environment) = rest[: int(words)], rest[int(words) :]
    return list(map(os.fsdecode, argv)), folder, dict(each.split(b"=", 1) for each in environment)


def _tell_status(client: socket.socket) -> None:
    """Let the end of this process, and of none that it forks, tell its status."""
    end, process = os._exit, os.getpid()

    def tell(status: int) -> NoReturn:
        if os.getpid() == process:
            with suppress(OSError):  # the client may have been killed
                client.sendall(bytes([status]))
        end(status)

    os._exit = tell


def _die_with(client: socket.socket) -> None:
    with suppress(ConnectionError):  # it has been killed before it read the status
        client.recv(1)
    os.killpg(0, signal.SIGKILL)


def _run(argv: list[str]) -> int:
    program, kind, name, *arguments = (word for word in argv if word != _UNBUFFERED)
    sys.argv = [name if kind in _FILES else program, *arguments]
    if Path(program).name == "python":
        sys.executable = program
    try:
        _RUNS[kind](name)
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


_FILES = ("-I", "-P")
_UNBUFFERED = "-u"
_RUNS = {
    "-m": partial(runpy.run_module, run_name="__main__"),
    **dict.fromkeys(_FILES, partial(runpy.run_path, run_name="__main__")),
    "-c": lambda code: exec(code, {"__name__": "__main__"}),
}


def _status_of(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
