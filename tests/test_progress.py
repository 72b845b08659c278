"""Long work shows a bar on a terminal and lines in a log; short work shows nothing in a log."""

import os
import pty
import subprocess
import sys

from ml.progress import LINE_SECONDS, progress

NESTED = """
from ml.progress import progress
with progress("train", 2, " examples") as outer:
    outer.update(1)
    with progress("score", 3, " rows") as inner:
        inner.update(3)
    outer.update(1)
"""


def _on_a_terminal(*command: str) -> str:
    """Return what a command writes to its standard error if that is a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, *command], stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    return shown


def test_a_terminal_shows_a_bar_for_a_sample(tmp_path):
    shown = _on_a_terminal("-m", "ml", "sample", "--rows", "1000", "--output", str(tmp_path / "sample.csv"))
    assert "write the sample: 100%|" in shown
    assert "1000/1000 [" in shown


def test_a_bar_inside_another_goes_when_it_is_done():
    shown = _on_a_terminal("-c", NESTED)
    assert "\n\rscore:" in shown
    last = shown.splitlines()[-1].rpartition("\r")[2]
    assert last.startswith("train: 100%|")


def test_short_work_leaves_nothing_in_a_log(capfd):
    with progress("work", 3, " rows") as bar:
        bar.update(3)
    assert capfd.readouterr().err == ""


def test_longer_work_leaves_lines_in_a_log(capfd, monkeypatch):
    monkeypatch.setattr("ml.progress.LINE_SECONDS", 1e-9)
    with progress("train", 2, " examples") as outer:
        with progress("score", 3, " rows") as inner:
            inner.update(3)
        outer.update(2)
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["score", "train"]
    assert "3/3 [" in lines[0]
    assert "2/2 [" in lines[1]


def test_the_last_line_in_a_log_is_the_end(capfd, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with progress("train", 3, " examples") as bar:
        now[0] += LINE_SECONDS
        bar.update(2)
        bar.update(1)
    lines = capfd.readouterr().err.splitlines()
    assert ["2/3 [" in lines[0], "3/3 [" in lines[1]] == [True, True]
    assert len(lines) == 2
