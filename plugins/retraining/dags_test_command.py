"""What `airflow dags test` needs on a DAG of ours: no deadline, and an API of one version, which takes 5 s less."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from airflow.sdk import DAG


def ready_for_test(dag: DAG) -> None:
    """Have `airflow dags test` run the DAG in that way."""
    dag.test = MethodType(_test, dag)  # type: ignore[method-assign]


def _test(dag: DAG, *args: Any, **kwargs: Any) -> Any:
    """Airflow 3.3.2 fails at the end of a tested run with a deadline (apache/airflow#73428)."""
    dag.deadline = []
    with _api_of_one_version():
        return DAG.test(dag, *args, **kwargs)


@contextmanager
def _api_of_one_version() -> Iterator[None]:
    """Have the API in the command's own process know its newest version alone, which its one client speaks.

    Airflow 3.3.2 makes all routes anew for each of the ten versions that a worker elsewhere may speak.
    """
    from airflow.api_fastapi.execution_api import versions
    from airflow.api_fastapi.execution_api.routes import execution_api_router
    from cadwyn import HeadVersion, Version, VersionBundle
    from cadwyn.route_generation import _DELETED_ROUTE_TAG

    newest = VersionBundle(HeadVersion(), Version(versions.bundle.versions[0].value))
    routes = [route for route in execution_api_router.routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())]
    before = versions.bundle, execution_api_router.routes
    versions.bundle, execution_api_router.routes = newest, routes
    try:
        yield
    finally:
        versions.bundle, execution_api_router.routes = before
