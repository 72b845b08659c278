"""A task instance as a task of Airflow gets it, of which the tests read only what the operators ask of it."""

from types import SimpleNamespace


def task_instance(dag_id: str, run_id: str, task_id: str) -> SimpleNamespace:
    """Return a first try whose XComs go nowhere."""
    return SimpleNamespace(
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index=-1,
        try_number=1,
        log_url=f"http://localhost:8080/dags/{dag_id}/runs/{run_id}/tasks/{task_id}?try_number=1",
        xcom_push=lambda key, value: None,
    )
