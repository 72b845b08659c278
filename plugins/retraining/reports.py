"""A run's reports in Airflow's UI: a tab of the run, a link at each task, and pages for users who may read the DAG."""

import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from retraining import PROJECT
from retraining.params import folder_name

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey
    from fastapi import FastAPI
    from fastapi.responses import Response

PREFIX = "/retraining/reports"
# Pages load nothing from the internet, and no script in a page can use the reader's session.
_POLICY = "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'self'"
_HEADERS = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
_PAGES = {
    "evaluation.html": "Evaluation: the verdict, and the models side by side",
    "exploration.html": "The questions: expectations, label counts and lengths",
    "data_docs/index.html": "Data Docs of the file",
    "data_docs_splits/index.html": "Data Docs of the splits",
}
_STYLE = """<style>
body { font: 15px/1.6 system-ui; margin: 1.5rem; background: #fff; color: #1f2933 }
pre { font-size: 13px; line-height: 1.5; background: #f5f7fa; padding: 1rem; overflow-x: auto }
</style>"""


class ReportsLink(BaseOperatorLink):
    """Links a task, a failed one too, to the folder of its run's reports."""

    @property
    def name(self) -> str:
        """The button's text."""
        return "Reports"

    def get_link(self, operator: "BaseOperator", *, ti_key: "TaskInstanceKey") -> str:
        """Return the path of the reports on Airflow's server."""
        return f"{PREFIX}/{quote(folder_name(ti_key.run_id))}/"


class RetrainingPlugin(AirflowPlugin):
    """Adds the reports to the API server; the other components import nothing for them."""

    name = "retraining"
    external_views = [  # noqa: RUF012, the base class declares a list
        {"name": "Reports", "href": f"{PREFIX}/{{RUN_ID}}/", "destination": "dag_run", "url_route": "reports"}
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app of the reports, made when the API server asks for it."""
        return [{"app": reports_app(), "url_prefix": PREFIX, "name": "Retraining reports"}]


def reports_app() -> "FastAPI":
    """Serve `SINCERE_HOME/reports` to users who may read the DAG; without this check a plugin's routes are public."""
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

    run_id, _, page = path.partition("/")
    folder = _reports() / folder_name(run_id)
    if not page:
        return HTMLResponse(_overview(folder))
    if not _is_report(folder / page, folder):
        raise HTTPException(status_code=404, detail="There is no such report.")
    return FileResponse((folder / page).resolve(), headers=_HEADERS)


def _reports() -> Path:
    from ml.config.environment import home_of

    return home_of(os.environ, PROJECT) / "reports"


def _is_report(file: Path, folder: Path) -> bool:
    """Whether it is a readable file of the run's folder; a link out of the folder is none."""
    try:
        found = file.resolve()
        return found.is_relative_to(folder) and found.is_file() and os.access(found, os.R_OK)
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a NUL in it, links that lead to each other
        return False


def _overview(folder: Path) -> str:
    """Return a page with links to the reports that the run has written so far, and with its verdict."""
    verdict = folder / "verdict.txt"
    told = ""
    if _is_report(verdict, folder):
        told = f"<pre>{escape(verdict.read_text(encoding='utf-8', errors='replace'))}</pre>"
    pages = [
        f'<li><a href="{page}">{title}</a></li>' for page, title in _PAGES.items() if _is_report(folder / page, folder)
    ] or ["<li>none yet; only runs of retrain_quora and rollback_model have reports</li>"]
    return f"<!doctype html><title>Reports</title>{_STYLE}<h1>Reports</h1><ul>{''.join(pages)}</ul>{told}"
