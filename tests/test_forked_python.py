"""The Python that waits for no import behaves as Python does: streams, status, signals, and a death that it shares."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.forked_python import forked_python, worker_of

SLEEP = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"


@pytest.fixture(scope="module")
def python():
    with forked_python("json") as python:
        yield python


@pytest.fixture
def sleeper(python, tmp_path):
    """The program, and the process that sleeps for it."""
    (tmp_path / "sleep.py").write_text(SLEEP)
    command = [python, "-I", str(tmp_path / "sleep.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        yield program, psutil.Process(int(program.stdout.readline()))
        program.kill()


def test_a_module_gets_arguments_folder_and_environment_and_gives_its_status(python, tmp_path):
    (tmp_path / "told.py").write_text(
        "import os, sys\nprint(sys.argv[1:], os.environ['WHO'], os.getcwd())\nsys.exit(65)"
    )
    environment = {"PATH": os.environ["PATH"], "WHO": "jane"}
    command = [python, "-I", str(tmp_path / "told.py"), "a b", "c"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (65, f"['a b', 'c'] jane {tmp_path}\n", "")


def test_a_process_finds_modules_where_its_environment_says_and_may_end_at_once(python, tmp_path):
    (tmp_path / "sudden.py").write_text(
        "import os\nif os.fork() == 0:\n    os._exit(3)\nos.wait()\nprint('here', flush=True)\nos._exit(7)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([python, "-m", "sudden"], env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "here\n")


def test_the_command_line_runs_as_a_module(python):
    done = subprocess.run([python, "-m", "ml", "nonesuch"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice: 'nonesuch'" in done.stderr


def test_standard_input_is_read_and_an_error_has_a_traceback(python, tmp_path):
    (tmp_path / "fail.py").write_text("import sys\nraise ValueError(sys.stdin.read())")
    command = [python, "-I", str(tmp_path / "fail.py")]
    done = subprocess.run(command, input="why", check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: why")


def test_a_program_that_is_killed_takes_its_process_with_it(sleeper):
    program, process = sleeper
    program.kill()
    _, alive = psutil.wait_procs([process], timeout=60)
    assert alive == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_killed_is_seen_to_be(sleeper, number):
    program, process = sleeper
    (program if number == signal.SIGTERM else process).send_signal(number)
    assert program.wait(timeout=60) == -signal.SIGKILL
    assert psutil.wait_procs([process], timeout=60)[1] == []


def test_a_program_that_is_told_to_end_before_it_has_a_process_ends_with_it(tmp_path, monkeypatch):
    asked, may_answer = tmp_path / "asked", tmp_path / "may_answer"
    for pipe in (asked, may_answer):
        os.mkfifo(pipe)
    module = f"from pathlib import Path\nPath({str(asked)!r}).write_text('')\nPath({str(may_answer)!r}).read_text()\n"
    (tmp_path / "waiting.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        forked_python("waiting") as python,
        subprocess.Popen([python, "-c", "import time; time.sleep(600)"]) as program,
    ):
        asked.read_text()
        program.terminate()
        may_answer.write_text("")
        assert program.wait(timeout=60) == -signal.SIGKILL


def test_the_pythons_that_it_starts_wait_for_no_import_either(python):
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; print(sys.executable)'])"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"{python}\n"


def test_a_worker_of_the_tests_has_what_its_server_imported_and_starts_pythons_that_import_for_themselves():
    with forked_python("colorsys") as python:
        code = "import sys; print('colorsys' in sys.modules, sys.executable)"
        done = subprocess.run([worker_of(python), "-u", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == f"True {sys.executable}\n"


def test_a_server_whose_import_warns_ends_as_the_import_of_a_test_would(tmp_path):
    (tmp_path / "old.py").write_text("import warnings\nwarnings.warn('gone in 2.0', DeprecationWarning)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with forked_python("old") as python:
            done = subprocess.run([python, "-c", "pass"], check=False, capture_output=True)
    assert done.returncode != 0


def test_the_end_of_a_process_removes_nothing_that_a_module_has_made_for_all(tmp_path, monkeypatch):
    (tmp_path / "keeping.py").write_text("import tempfile\nPLACE = tempfile.TemporaryDirectory()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import keeping, os; print(os.path.isdir(keeping.PLACE.name))"
    with forked_python("keeping") as python:
        told = [subprocess.run([python, "-c", code], check=True, capture_output=True).stdout for _ in range(2)]
    assert told == [b"True\n", b"True\n"]
