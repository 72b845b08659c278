"""The wheel: which files it has, and what its command does without a checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ml
from ml.config import Config
from ml.fingerprint import inputs_of

PROJECT = Path(__file__).parents[1]
SOURCES = ("ml", "expectations", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
NOT_SHIPPED = shutil.ignore_patterns("__pycache__")

_INPUTS = "from ml.config import Config; from ml.fingerprint import inputs_of; print(inputs_of(Config(), '0' * 64))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy, because a build leaves files beside its sources."""
    copy, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=NOT_SHIPPED)
        else:
            shutil.copy(source, copy)
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(built), str(copy))
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """Install the wheel into a folder."""
    site = tmp_path_factory.mktemp("site")
    _pip("install", "--target", str(site), str(wheel))
    return site


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, "--no-deps", "--no-index"]
    subprocess.run(command, check=True, capture_output=True)


def _printed(site: Path, folder: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_wheel_has_every_file_of_the_package_and_the_suites(wheel):
    rooms = (PROJECT / "ml", PROJECT / "expectations")
    paths = [path for room in rooms for path in room.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == {path.relative_to(PROJECT).as_posix() for path in paths}


def test_the_wheel_brings_its_licence(wheel):
    texts = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/licenses/" in name}
    assert texts == {"LICENSE", "NOTICE"}


def test_the_installed_command_prints_its_version(site, tmp_path):
    assert _printed(site, tmp_path, str(site / "bin" / "sincere"), "--version") == f"sincere {ml.__version__}\n"


def test_the_installed_command_is_called_by_its_own_name_in_its_help(site, tmp_path):
    assert _printed(site, tmp_path, str(site / "bin" / "sincere"), "--help").startswith("usage: sincere ")


def test_an_installation_and_a_checkout_run_the_same_code_on_the_same_suites(site, tmp_path):
    assert _printed(site, tmp_path, sys.executable, "-c", _INPUTS) == f"{inputs_of(Config(), '0' * 64)}\n"
