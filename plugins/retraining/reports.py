"""A run's reports in Airflow's UI: a tab of the run, a link at each task, and pages for those who may read the DAG."""

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from retraining.params import folder_name

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey
    from fastapi import FastAPI
    from fastapi.responses import Response

PREFIX = "/retraining/reports"
PROJECT = Path(__file__).resolve().parents[2]
# Scripts of a report (Data Docs fold their sections with one) must not act with the reader's session.
_HEADERS = {"Content-Security-Policy": "sandbox allow-scripts allow-popups", "X-Content-Type-Options": "nosniff"}
_STYLE = "<style>body { font: 16px/1.6 system-ui; margin: 2rem; background: #fff; color: #1f2933 }</style>"


class ReportsLink(BaseOperatorLink):
    """Leads to the folder of the run's reports, for a failed task too."""

    @property
    def name(self) -> str:
        """The button's text."""
        return "Reports"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """The address below Airflow's own."""
        return f"{PREFIX}/{quote(folder_name(ti_key.run_id))}/"


class RetrainingPlugin(AirflowPlugin):
    """Adds the reports to the API server; nothing is imported for it elsewhere."""

    name = "retraining"
    external_views = [  # noqa: RUF012, the base class has declared it so
        {"name": "Reports", "href": f"{PREFIX}/{{RUN_ID}}/", "destination": "dag_run", "url_route": "reports"}
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The one app, made when the API server asks for it."""
        return [{"app": reports_app(), "url_prefix": PREFIX, "name": "Retraining reports"}]


def reports_app() -> "FastAPI":
    """Serves `SINCERE_HOME/reports` to those who may read the DAG; a plugin's routes are open unless they ask."""
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends, FastAPI
    from fastapi.responses import Response

    app = FastAPI(title="Retraining reports", docs_url=None, redoc_url=None, openapi_url=None)
    may_read = Depends(requires_access_dag("GET", param_dag_id="retrain_quora"))
    app.add_api_route("/{path:path}", _respond, dependencies=[may_read], response_model=None, response_class=Response)
    return app


def _respond(path: str) -> "Response":
    from fastapi import HTTPException
    from fastapi.responses import FileResponse, HTMLResponse

    root = Path(os.environ.get("SINCERE_HOME", PROJECT / "var"), "reports").resolve()
    run_id, _, page = path.partition("/")
    asked = (root / folder_name(run_id) / page).resolve()
    if not asked.is_relative_to(root) or not asked.exists():
        raise HTTPException(status_code=404, detail="There is no such report.")
    if asked.is_dir():
        return HTMLResponse(_index(asked))
    return FileResponse(asked, headers=_HEADERS)


def _index(folder: Path) -> str:
    pages = sorted(page.relative_to(folder).as_posix() for page in folder.rglob("*.html"))
    items = "".join(f'<li><a href="{quote(page)}">{escape(page)}</a></li>' for page in pages)
    return f"<!doctype html><title>Reports</title>{_STYLE}<h1>Reports</h1><ul>{items or '<li>none yet</li>'}</ul>"
