import asyncio

import httpx
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import API_VERSION
from retraining.dags_test_command import ready_for_test


async def _ask_for_health():
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI

    transport = httpx.ASGITransport(InProcessExecutionAPI().app)
    async with httpx.AsyncClient(transport=transport, base_url="http://in-process") as client:
        return (await client.get("/health", headers={"airflow-api-version": API_VERSION})).status_code


def _asked_for(monkeypatch):
    """What the API that `airflow dags test` builds answers in the middle of a run."""
    from airflow.api_fastapi.execution_api import versions

    seen = {}

    def run(dag):
        known = [version.value for version in versions.bundle.versions]
        seen.update(status=asyncio.run(_ask_for_health()), versions=known, deadline=dag.deadline)

    monkeypatch.setattr(DAG, "test", run)
    return seen


def test_a_tested_run_has_no_deadline_and_an_api_of_the_newest_version_alone(monkeypatch):
    seen = _asked_for(monkeypatch)
    dag = DAG("retrain_something", schedule=None)
    ready_for_test(dag)
    dag.test()
    assert seen == {"status": 200, "versions": [API_VERSION], "deadline": []}


def test_afterwards_the_api_has_all_its_versions_again(monkeypatch):
    from airflow.api_fastapi.execution_api import versions
    from airflow.api_fastapi.execution_api.routes import execution_api_router

    before = versions.bundle, list(execution_api_router.routes)
    _asked_for(monkeypatch)
    dag = DAG("retrain_something", schedule=None)
    ready_for_test(dag)
    dag.test()
    assert len(versions.bundle.versions) > 1
    assert (versions.bundle, execution_api_router.routes) == before
