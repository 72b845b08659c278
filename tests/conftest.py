"""Set the environment before a test imports TensorFlow, Great Expectations or Airflow; start the W&B server."""

import fcntl
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.forked_airflow import forked_airflow
from tests.forked_python import STEPS, TESTS, forked_python, serving_by, worker_of
from tests.tiny import WORDS, write_tiny_encoder, write_tiny_module

_IN_MEMORY, _ROOM = Path("/dev/shm"), 4 << 30  # bytes; the tests take 0.7 GB at a time


def _place_of_temporary_files() -> str:
    """Find where temporary files go: to memory, which is quicker, unless it lacks room or TMPDIR says where."""
    if "TMPDIR" in os.environ or not _IN_MEMORY.is_dir():
        return tempfile.gettempdir()
    place = os.statvfs(_IN_MEMORY)
    room = min(place.f_bavail * place.f_frsize, psutil.virtual_memory().available // 2)
    return str(_IN_MEMORY) if room >= _ROOM and not place.f_flag & os.ST_NOEXEC else tempfile.gettempdir()


# What libraries leave in the folder for temporary files goes into one that is removed; a failed test's own files stay.
_PLACE = _place_of_temporary_files()
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _PLACE)
_TEMPORARY = Path(tempfile.mkdtemp(prefix="tests-", dir=_PLACE))
_TEMPORARY.chmod(0o711)  # PostgreSQL, which runs as another user, has its data in it
tempfile.tempdir = str(_TEMPORARY)

os.environ.update(
    TMPDIR=str(_TEMPORARY),
    LANGUAGE="C",  # no process looks for translations of what `argparse` says
    TF_USE_LEGACY_KERAS="1",
    TF_CPP_MIN_LOG_LEVEL="2",
    # As a training's own process has it (`share_cores`): the last bits of a product depend on it.
    TF_NUM_INTRAOP_THREADS=str(max(1, len(os.sched_getaffinity(0)) // 2)),
    # What XLA makes of a graph is tested, and not how LLVM optimises it, which is half of the time of a compilation.
    XLA_FLAGS="--xla_backend_optimization_level=0",
    GX_ANALYTICS_ENABLED="false",
    AIRFLOW_HOME=str(_TEMPORARY / "airflow"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__API_AUTH__JWT_SECRET="0123456789abcdef" * 4,
)


gc.set_threshold(50_000)  # of 700 more objects is a seventh of the time of an import
_OPEN = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Start the Python and the Airflow that wait for no import, one of each for all processes of pytest-xdist."""
    if not hasattr(config, "workerinput"):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in a shell's background ignores it
        # Tests of training, which `make test` runs apart, use what steps import alone.
        imported = STEPS if config.args == ["tests/training"] else (*TESTS, *STEPS)
        os.environ["FORKED_PYTHON"] = _OPEN.enter_context(forked_python(*imported))
        os.environ["FORKED_AIRFLOW"] = _OPEN.enter_context(forked_airflow())
        if workers := config.getoption("tx"):
            config.option.tx = [f"popen//python={worker_of(os.environ['FORKED_PYTHON'])}"] * len(workers)


def pytest_unconfigure() -> None:
    """End that, and remove the temporary files.

    The processes of pytest-xdist end without running what Python registers for it.
    """
    _OPEN.close()
    shutil.rmtree(_TEMPORARY, ignore_errors=True)


# Files that take half a minute or more, the longest first; `pytest --durations 25` tells.
_LONG = (
    "airflow/test_story.py",
    "contracts/test_crash.py",
    "airflow/test_wandb.py",
    "registry/test_wandb.py",
    "airflow/test_retrain.py",
    "tracking/test_runs.py",
    "contracts/test_registry.py",
    "training/test_train.py",
    "airflow/test_approval.py",
    "scripts/test_up.py",
    "training/test_hardware.py",
    "contracts/test_served_form.py",
    "test_cli.py",
    "tracking/test_promotions.py",
    "serve/test_probe.py",
    "judge/test_evaluate.py",
    "contracts/test_two_homes.py",
    "contracts/test_other_fractions.py",
    "data/test_validate.py",
    "data/test_change.py",
    "scoring/test_score.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that all workers end at about the same time."""
    items.sort(key=lambda item: next((place for place, end in enumerate(_LONG) if item.path.match(end)), len(_LONG)))


@pytest.fixture(scope="session")
def _wandb_environment(tmp_path_factory):
    """Start a W&B server for all tests, and yield it with the environment that points at it.

    The server is one for all tests, because W&B's client keeps the settings that it read first.
    """
    import wandb

    from tests.wandb_server import serving

    folder = str(tmp_path_factory.mktemp("wandb"))
    wandb.teardown()
    with serving() as server:
        folders = dict.fromkeys(("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"), folder)
        yield server, {**server.environment, **folders}
        wandb.teardown()


@pytest.fixture
def wandb_server(_wandb_environment, monkeypatch):
    """Yield an empty W&B server at which this process's environment points; it must understand each request."""
    server, environment = _wandb_environment
    server.reset()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield server
    assert server.unknown == []


@pytest.fixture(scope="session")
def _one_state_server():
    from tests.state_server import one_server_for_all

    with one_server_for_all() as server_and_client:
        yield server_and_client


@pytest.fixture
def state_server(_one_state_server, monkeypatch, tmp_path):
    """Yield an empty object store, of which this process has clients."""
    from tests.state_server import quick_clients

    server, client = _one_state_server
    quick_clients(server, client, monkeypatch, tmp_path)
    return server


@pytest.fixture(scope="session")
def python() -> str:
    """A Python that has imported what steps and the servers of models import."""
    return os.environ["FORKED_PYTHON"]


@pytest.fixture
def quick_servers(python: str) -> Iterator[None]:
    """Serve models in processes of their own that wait for no import."""
    with serving_by(python):
        yield


@pytest.fixture
def quick_steps(python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the steps of tasks, and what leaves a verdict in their place, in processes that wait for no import."""
    monkeypatch.setenv("ML_PYTHON", python)
    monkeypatch.setattr("retraining.step.ending.sys", SimpleNamespace(executable=python))


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny encoder in the Hugging Face layout."""
    return write_tiny_encoder(tmp_path_factory.mktemp("huggingface"), WORDS)


@pytest.fixture(scope="session")
def tiny_tanh_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny encoder in the Hugging Face layout, with the activation of TF-Hub's encoders."""
    return write_tiny_encoder(tmp_path_factory.mktemp("huggingface"), WORDS, activation="gelu_new")


@pytest.fixture(scope="session")
def tiny_module(tiny_tanh_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the same weights in the TF-Hub layout, once for all processes of pytest-xdist."""
    folder = _of_all_processes(tmp_path_factory) / "hub"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder / "module" if folder.exists() else _written_module(folder, tiny_tanh_encoder)


def _of_all_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def _written_module(folder: Path, encoder: Path) -> Path:
    part = folder.with_name("hub.part")
    part.mkdir()
    write_tiny_module(part, encoder)
    return part.rename(folder) / "module"
