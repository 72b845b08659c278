"""A log for those who collect logs: each line an object with the run's id."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

from ml.json_log import JsonFormatter

PROJECT = Path(__file__).parents[1]


def run(home, *command, **environment):
    python, given = os.environ["FORKED_PYTHON"], {**os.environ, "SINCERE_HOME": str(home), **environment}
    return subprocess.run(
        [python, "-m", "ml", *command], cwd=PROJECT, env=given, capture_output=True, text=True, check=False
    )


def test_each_line_is_an_object_with_the_runs_id_and_the_record_is_not_in_it(tmp_path):
    ended = run(tmp_path, "--log-format", "json", "snapshot", "--source", "sample:20", "--run-id", "weekly")
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert {(line["run_id"], line["command"]) for line in lines} == {("weekly", "snapshot")}
    assert [line["message"].split(":")[0] for line in lines] == ["takes", "gives"]
    assert set(lines[0]) == {"time", "level", "logger", "command", "run_id", "message"}
    assert json.loads(ended.stdout)["record"] == "RawSnapshot"


def test_an_error_is_one_line_too(tmp_path):
    ended = run(tmp_path, "--log-format", "json", "snapshot", "--source", str(tmp_path / "nowhere.csv"))
    last = json.loads(ended.stderr.splitlines()[-1])
    assert ended.returncode == 65
    assert (last["level"], last["message"].splitlines()[0]) == ("error", "error: there is no such file")
    assert last["run_id"].startswith("cli-")


def test_a_traceback_stands_in_a_field_of_the_same_line():
    try:
        raise KeyError("a column")
    except KeyError:
        record = logging.LogRecord("ml", logging.ERROR, __file__, 1, "it %s", ("failed",), sys.exc_info())
    (line,) = JsonFormatter(command="split", run_id="weekly").format(record).splitlines()
    told = json.loads(line)
    assert (told["message"], told["exception"].splitlines()[-1]) == ("it failed", "KeyError: 'a column'")


def test_a_command_that_belongs_to_no_run_says_so(tmp_path):
    ended = run(tmp_path, "verdict", SINCERE_LOG_FORMAT="json")
    assert json.loads(ended.stderr)["run_id"] == "none"


def test_the_usual_log_is_words_alone(tmp_path):
    ended = run(tmp_path, "snapshot", "--source", "sample:20")
    assert [line.split(":")[0] for line in ended.stderr.splitlines()] == ["takes", "gives"]
