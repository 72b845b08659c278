"""How long Airflow's UI waits for a page when the registry has 1,000 decisions and as many runs were checked."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

DECISIONS = 1000
REPEATS = 7
DAG = "retrain_quora"


def measure() -> list[dict[str, object]]:
    """Time each page: the first time, when nothing is drawn yet, and the median of later times."""
    with TemporaryDirectory(prefix="pages-") as folder:
        os.environ.update(
            AIRFLOW_HOME=folder,
            AIRFLOW__API_AUTH__JWT_SECRET="0123456789abcdef" * 4,
            AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
            SINCERE_HOME=folder,
        )
        os.environ.pop("SINCERE_REGISTRY", None)
        _write_history(Path(folder))
        _write_data_quality(Path(folder))
        get = _client()
        pages = ("promotions", "promotions?q=blocked", "data")
        return [_timed(get, f"/retraining/dags/{DAG}/{page}") for page in pages] + [_timed(get, "/retraining/models")]


def _timed(get: Callable[[str], str], path: str) -> dict[str, object]:
    """The processor's time tells on a busy machine, too, what a quiet one needs."""
    passed, worked = [], []
    for _ in range(REPEATS + 1):
        clock, processor = time.perf_counter(), time.process_time()
        size = len(get(path))
        passed.append(1e3 * (time.perf_counter() - clock))
        worked.append(1e3 * (time.process_time() - processor))
    return {
        "page": path,
        "first, ms": passed[0],
        "of it processor": worked[0],
        "later, ms": statistics.median(passed[1:]),
        "of it processor ": statistics.median(worked[1:]),
        "KB": size / 1e3,
    }


def _client() -> Callable[[str], str]:
    """Return a function that gets a page as a user who has logged in to Airflow."""
    import warnings

    from airflow import settings
    from airflow.api_fastapi.app import get_auth_manager, init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session
    from fastapi import FastAPI
    from retraining.plugin import RetrainingPlugin

    with warnings.catch_warnings(action="ignore"):
        from fastapi.testclient import TestClient

    import_all_models()  # type: ignore[no-untyped-call]
    Base.metadata.create_all(settings.engine)
    with create_session() as session:
        session.add(DagBundleModel(name="dags"))
        session.flush()
        model = DagModel(dag_id=DAG, bundle_name="dags", fileloc="dag.py", is_stale=False)  # type: ignore[no-untyped-call]
        session.add(model)
        session.add(DagTag(name="retraining", dag_id=DAG))
    app = FastAPI()
    init_auth_manager(app)
    (pages,) = RetrainingPlugin().fastapi_apps
    app.mount(pages["url_prefix"], pages["app"])
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="reader", role="viewer"))
    client = TestClient(app, headers={"Authorization": f"Bearer {token}"})
    return lambda path: client.get(path).raise_for_status().text


def _write_history(home: Path) -> None:
    """Write a registry as if so many candidates had been judged: the last promoted one is the champion."""
    from ml.records import ModelVersion, NoLineUnderway, to_json
    from ml.registry.local_memory import HISTORY, Memory, Remembered

    decide_next = import_module("tests.airflow.pages.examples").decide_next
    decide_next(home, "run-0", (0.64, 0.55), time="2026-01-01T00:00:00+00:00")
    decide_next(home, "run-1", (0.45, 0.55), time="2026-01-08T00:00:00+00:00")
    root = home / "registry"
    remembered = Memory(root).read()
    promoted, blocked = remembered.history
    entries = [
        promoted,
        *(replace(blocked, run_id=f"run-{number}", version=f"v{number + 1}") for number in range(1, DECISIONS)),
    ]
    for entry in entries[2:]:
        place = root / "versions" / entry.version / "version.json"
        place.parent.mkdir()
        place.write_text(to_json(ModelVersion(version=entry.version, model="0" * 64)), encoding="utf-8")
    lines = b"".join(to_json(entry).encode() + b"\n" for entry in entries)
    (root / HISTORY).write_bytes(lines)
    Memory(root)._write(Remembered(remembered.aliases, entries, lines), NoLineUnderway())


def _write_data_quality(home: Path) -> None:
    """Keep for each run what the 27 expectations of a real one found."""
    from ml.records import DataCheck, DataQuality, Measured, ObservedCheck, to_json

    checks = tuple(
        ObservedCheck(
            docs=docs,
            check=DataCheck(
                name=f"expectation {number}", column="target", severity="warning", passed=True, observed="0.06"
            ),
            required="0.04 to 0.09",
            note="why",
            value=Measured(value=0.06),
        )
        for docs, count in {"data_docs": 13, "data_docs_change": 7, "data_docs_splits": 7}.items()
        for number in range(count)
    )
    for number in range(DECISIONS):
        folder = home / "reports" / f"run-{number}" / "data_quality"
        folder.mkdir(parents=True, exist_ok=True)
        quality = DataQuality(
            run_id=f"run-{number}", time="2026-01-01T00:00:00+00:00", snapshot="1" * 64, rows=1, checks=checks
        )
        (folder / "validate.json").write_text(to_json(quality), encoding="utf-8")
