"""The DAGs that the tests' Airflow knows: two of this kind, and another."""

from collections.abc import Callable

from fastapi.testclient import TestClient

DAG, ROLLBACK, FOREIGN = "retrain_quora", "rollback_model", "report_sales"

Client = Callable[..., TestClient]
