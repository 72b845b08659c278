"""The app of the pages: which address shows what, and to whom."""

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from retraining.pages.layout import FOLDER, page
from retraining.pages.run_page import run_page

_RUN = "/dags/{dag_id}/runs/{run_id}"


def pages_app() -> FastAPI:
    """Serve the pages to users who may read the DAG; without these checks a plugin's routes are public."""
    app = FastAPI(title="Retraining pages", docs_url=None, redoc_url=None, openapi_url=None)
    may_read = [Depends(_one_dag), Depends(requires_access_dag("GET"))]
    for path, answer in {f"{_RUN}/{{path:path}}": run_page}.items():
        app.add_api_route(path, answer, dependencies=may_read, response_model=None, response_class=Response)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"))
    app.add_exception_handler(AnyHTTPException, _trouble)
    return app


def _one_dag(dag_id: str) -> None:
    """Airflow takes `~` for any DAG."""
    if dag_id == "~":
        raise HTTPException(404, "There is no such DAG.")


def _trouble(request: Request, error: Exception) -> Response:
    """Answer with the status as it is, and a page that a person can read."""
    assert isinstance(error, AnyHTTPException)
    return page(
        request, "trouble.html.jinja", status=error.status_code, text=_WORDS.get(error.status_code, error.detail)
    )


_WORDS = {
    401: "You are not logged in: log in to Airflow, and open this page again.",
    403: "You may not read this DAG: ask whoever administers Airflow.",
    404: "There is no such page.",
}
