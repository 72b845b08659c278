"""`make secrets` writes what docker-compose.yaml asks for, once, for its owner alone."""

import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "compose_secrets.py"


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(SCRIPT)]  # -S: as where no package is installed
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def given(folder: Path) -> dict[str, str]:
    lines = (folder / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_it_writes_all_secrets_that_compose_asks_for_and_says_what_is_next(tmp_path: Path) -> None:
    done = make_secrets(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Next: docker compose up" in done.stdout
    asked = re.findall(r"\$\{(\w+):\?", (PROJECT / "docker-compose.yaml").read_text(encoding="utf-8"))
    secrets = given(tmp_path)
    assert set(secrets) == set(asked)
    assert re.fullmatch("[0-9a-z]{48}", secrets["POSTGRES_PASSWORD"])
    assert Fernet(secrets["AIRFLOW_FERNET_KEY"])
    assert len(secrets["AIRFLOW_JWT_SECRET"]) >= 64
    assert not [name for name in secrets if secrets[name] in done.stdout]


def test_its_owner_alone_may_read_it_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_it_makes_other_secrets_for_another_folder(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        make_secrets(folder)
    one, two = map(given, folders)
    assert [name for name in one if one[name] == two[name]] == []


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = (tmp_path / ".env").read_bytes()
    again = make_secrets(tmp_path)
    assert (again.returncode, (tmp_path / ".env").read_bytes()) == (0, before)
    assert ".env is there, with all secrets, and stays as it is" in again.stdout


@pytest.mark.parametrize("line", ["", "AIRFLOW_JWT_SECRET=", "# AIRFLOW_JWT_SECRET=x"])
def test_a_file_that_lacks_a_secret_stays_as_it_is_and_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    make_secrets(tmp_path)
    path = tmp_path / ".env"
    text = re.sub("^AIRFLOW_JWT_SECRET=.*$", line, path.read_text(encoding="utf-8"), flags=re.M)
    path.write_text(text, encoding="utf-8")
    done = make_secrets(tmp_path)
    assert (done.returncode, path.read_text(encoding="utf-8")) == (1, text)
    assert (
        done.stderr == ".env is there, and stays as it is, but does not set AIRFLOW_JWT_SECRET: add what is missing\n"
    )


def test_of_many_at_once_one_writes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(make_secrets, [tmp_path] * 8))
    assert sorted(each.stdout.startswith("Wrote") for each in done) == [*[False] * 7, True]
    assert {each.returncode for each in done} == {0}
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
