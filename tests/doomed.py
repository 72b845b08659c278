"""Run the command line in processes that kill themselves with SIGKILL at a chosen change of a home.

Or in one that copies the home at each change: a copy is what a SIGKILL there would leave. A change is a file opened for
writing, a rename, a link, a removal or a new folder below the home, or a new process.
`python -m tests.doomed NAMESPACE MODULE…` imports the modules, then reads one job per line and forks a process for each
job. So each job has a fresh process and does not wait for imports, nor for the digests of code and libraries.
TensorFlow survives a fork as long as it has not been used.

The processes have mounts of their own where the kernel allows it: a job may run on a small disk. Or they have a host's
name of their own.
"""

import ctypes
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PROJECT = Path(__file__).parents[1]

_CHANGES = {"os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir"}


@dataclass(frozen=True)
class Death:
    """When a process dies: right before the n-th change whose text contains `what`, or right after it.

    `number` is n and counts from 1.
    """

    number: int = 1
    what: str = ""
    after: bool = False


NEVER = Death(number=0)
_SHARED, _MOUNTS, _HOST = "shared", "mounts", "host="  # NAMESPACE
_CLONE_NEWNS, _CLONE_NEWUTS = 0x00020000, 0x04000000  # <linux/sched.h>; os.unshare comes with Python 3.12


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (negative: the signal) and the changes that it began.

    A change is a text with the event and the path.
    """

    status: int
    changes: tuple[str, ...]
    said: str = ""


class Processes:
    """Runs `python -m ml` in one process after another; see `doomed_processes`."""

    def __init__(self, server: "subprocess.Popen[str]") -> None:
        self._server = server

    def run(self, home: Path, command: Sequence[str], death: Death = NEVER, *, serve: bool = True) -> Ended:
        """Run a command on a home; without `serve`, a rollback does not probe its target."""
        job = {"home": str(home), "command": list(command), "death": asdict(death), "serve": serve}
        return self._ended(job)

    def run_and_copy(self, home: Path, command: Sequence[str], copies: Path, *, serve: bool = True) -> Ended:
        """Run a command on a home, and copy it before each of its changes and after each file that it opens.

        The copies are in one folder, by their order.
        """
        copies.mkdir()
        job = {"home": str(home), "command": list(command), "death": asdict(NEVER), "serve": serve}
        return self._ended({**job, "copies": str(copies)})

    def run_on_full_disk(self, home: Path, command: Sequence[str], spare: int, *, serve: bool = True) -> Ended:
        """Run a command on a home that lies on a disk with so many bytes to spare; then the home is what was left."""
        disk, said = home.with_name("disk"), home.with_name("said")
        disk.mkdir(exist_ok=True)
        job = {"home": str(home), "command": list(command), "death": asdict(NEVER), "serve": serve}
        print(json.dumps({**job, "disk": str(disk), "spare": spare, "said": str(said)}), file=self._server.stdin)
        self._server.stdin.flush()
        while not (line := self._server.stdout.readline()).startswith("ended "):
            pass
        return Ended(int(line.removeprefix("ended ")), (), said.read_text(encoding="utf-8"))

    def _ended(self, job: dict[str, Any]) -> Ended:
        print(json.dumps(job), file=self._server.stdin, flush=True)
        changes = []
        while (line := self._server.stdout.readline().rstrip("\n")).startswith("change "):
            changes.append(line.removeprefix("change "))
        return Ended(int(line.removeprefix("ended ")), tuple(changes))


def mounts_are_allowed() -> bool:
    """Whether this user may have mounts that no other process sees."""
    return not subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode


@contextmanager
def doomed_processes(*modules: str, host: str = "", preloaded: bool = False) -> Iterator[Processes]:
    """Yield processes that have imported these modules; they end with the context.

    With `host` they see this name of the machine. Those that are `preloaded` wait for no import; each takes longer.
    """
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    namespace = f"{_HOST}{host}" if host else _MOUNTS if mounts_are_allowed() else _SHARED
    python = os.environ["FORKED_PYTHON"] if preloaded else sys.executable
    command = [python, "-m", "tests.doomed", namespace, *modules]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdin=pipe, stdout=pipe, text=True) as server:
        yield Processes(server)
        server.stdin.close()


def _enter(namespace: str) -> None:
    """Leave the machine's mounts, or its host's name, to all other processes."""
    if namespace == _MOUNTS:
        _unshare(_CLONE_NEWNS)
        _mount("--make-rprivate", "/")
    elif namespace.startswith(_HOST):
        _unshare(_CLONE_NEWUTS)
        socket.sethostname(namespace.removeprefix(_HOST))


def _unshare(what: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what):
        raise OSError(number := ctypes.get_errno(), os.strerror(number))


def _serve(modules: Sequence[str]) -> None:
    for module in ("ml.cli", "ml.registry.local", *modules):
        import_module(module)
    from ml.fingerprint import code_version, library_versions

    code_version()
    library_versions()
    gc.freeze()  # no job looks through all that the modules hold
    report = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the records that the commands print
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_run_or_fill(json.loads(line), report))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(report, f"ended {status}\n".encode())


def _run_or_fill(job: dict[str, Any], report: int) -> int:
    return _run_on_disk(job, report) if "disk" in job else _run(job, report)


def _run_on_disk(job: dict[str, Any], report: int) -> int:
    """Run the job on a copy of its home in a small file system, and put what that holds then in the home's place."""
    home, disk = Path(job["home"]), Path(job["disk"])
    _mount("-t", "tmpfs", "-o", "size=1g", "tmpfs", str(disk))
    shutil.copytree(home, disk, dirs_exist_ok=True)
    status = os.statvfs(disk)
    used = (status.f_blocks - status.f_bfree) * status.f_frsize
    _mount("-o", f"remount,size={used + job['spare']}", str(disk))
    os.dup2(os.open(job["said"], os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)
    worker = os.fork()
    if worker == 0:
        command = [each.replace(str(home), str(disk)) for each in job["command"]]
        os._exit(_run({**job, "home": str(disk), "command": command}, report))
    ended = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    shutil.rmtree(home)
    shutil.copytree(disk, home)
    subprocess.run(["umount", str(disk)], check=True)
    return ended


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _run(job: dict[str, Any], report: int) -> int:
    from ml.cli import main

    os.environ["SINCERE_HOME"] = job["home"]
    if not job["serve"]:
        import_module("ml.champion.rollback").probe_model = lambda folder: None
    # The forked one does not see our mounts.
    python = str(Path(sys.prefix, "bin", "python")) if "disk" in job else os.environ["FORKED_PYTHON"]
    import_module("ml.serve.server_process").sys = SimpleNamespace(executable=python)
    at = _copying(job["home"], job["copies"]) if "copies" in job else _dying(Death(**job["death"]))
    _watch(job["home"], report, at)
    return main(job["command"])


def _watch(home: str, report: int, at: Callable[[str], None]) -> None:
    """Report each change of the home when it begins, and tell `at` of it."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        change = _change(home, event, arguments)
        if change is not None:
            os.write(report, f"change {change}\n".encode())
            at(change)

    sys.addaudithook(hook)


def _dying(death: Death) -> Callable[[str], None]:
    matching = 0

    def at(change: str) -> None:
        nonlocal matching
        matching += death.what in change
        if death.what in change and matching == death.number:
            _behind(_die) if death.after else _die()

    return at


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _copying(home: str, copies: str) -> Callable[[str], None]:
    numbers = count(1)

    def copy() -> None:
        shutil.copytree(home, f"{copies}/{next(numbers):04}")

    def at(change: str) -> None:
        copy()
        if change.startswith("open "):
            _behind(copy)

    return at


def _behind(do: Callable[[], None]) -> None:
    """Do it when the call that is about to make a change has returned, to code that is not of this file."""

    def outside(frame: Any, event: str, argument: Any) -> None:
        if frame.f_code.co_filename != _behind.__code__.co_filename:
            sys.setprofile(None)
            do()

    sys.setprofile(outside)


def _change(home: str, event: str, arguments: tuple[Any, ...]) -> str | None:
    if event == "subprocess.Popen":
        return event
    if event not in _CHANGES and not _opens_to_write(event, arguments):
        return None
    two_paths = event in {"os.rename", "os.link"}
    path, folder = (arguments[1], arguments[3]) if two_paths else (arguments[0], arguments[-1])
    if event != "open" and folder >= 0:
        path = Path(f"/proc/self/fd/{folder}").readlink() / path
    nothing_to_do = event == "os.mkdir" and Path(path).is_dir()
    below = str(path).startswith(f"{home}/")
    return f"{event} {str(path).removeprefix(home)[1:]}" if below and not nothing_to_do else None


def _opens_to_write(event: str, arguments: tuple[Any, ...]) -> bool:
    return event == "open" and isinstance(arguments[0], (str, os.PathLike)) and bool(arguments[2] & os.O_ACCMODE)


if __name__ == "__main__":
    _enter(sys.argv[1])
    _serve(sys.argv[2:])
