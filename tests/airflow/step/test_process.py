"""What a step's process leaves behind: nothing."""

import os
from pathlib import Path

import pytest
from retraining.step.process import StepProcess


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("end", "status"), [("exit 0", 0), ("exit 65", 65), ("kill -KILL $$", -9)])
def test_the_temporary_files_of_a_step_go_with_it(temporary: Path, end: str, status: int) -> None:
    told: list[str] = []
    process = StepProcess(["/bin/sh", "-c", f"mktemp; {end}"], environment=os.environ, folder=Path("/"))
    assert process.follow(told.append) == status
    assert [Path(name).is_relative_to(temporary) for name in told] == [True]
    assert list(temporary.iterdir()) == []


def test_a_step_that_cannot_start_leaves_nothing(temporary: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StepProcess(["/nonesuch"], environment={}, folder=Path("/"))
    assert list(temporary.iterdir()) == []
