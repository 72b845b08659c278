"""Adds the pages to Airflow: tabs of a DAG and of a run, and an entry of the navigation."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from retraining.outcome import run_note
from retraining.pages import PREFIX


class RetrainingPlugin(AirflowPlugin):
    """Adds the pages to the API server; the other components import nothing for them."""

    name = "retraining"
    listeners = [run_note]  # noqa: RUF012, the base class declares a list
    # Addresses without a leading slash begin at Airflow's base URL, whatever its path is.
    external_views = [  # noqa: RUF012, the base class declares a list
        {
            "name": "Models",
            "href": f"{PREFIX[1:]}/models",
            "destination": "nav",
            "nav_top_level": True,
            "icon": f"{PREFIX[1:]}/static/models.svg",
            "icon_dark_mode": f"{PREFIX[1:]}/static/models_dark.svg",
            "url_route": "models",
        },
        {
            "name": "Promotions",
            "href": f"{PREFIX[1:]}/dags/{{DAG_ID}}/promotions",
            "destination": "dag",
            "url_route": "promotions",
        },
        {
            "name": "Data quality",
            "href": f"{PREFIX[1:]}/dags/{{DAG_ID}}/data",
            "destination": "dag",
            "url_route": "data-quality",
        },
        {
            "name": "Report",
            "href": f"{PREFIX[1:]}/dags/{{DAG_ID}}/runs/{{RUN_ID}}/",
            "destination": "dag_run",
            "url_route": "report",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app of the pages, made when the API server asks for it."""
        from retraining.pages.web_app import pages_app

        return [{"app": pages_app(), "url_prefix": PREFIX, "name": "Retraining pages"}]
