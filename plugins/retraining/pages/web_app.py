"""The app of the pages: which address shows what, and to whom."""

from collections.abc import Callable

from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException

from ml.errors import SincereError
from retraining.pages.champion.models import models_page
from retraining.pages.champion.promotions import promotions_page
from retraining.pages.layout import FOLDER, page
from retraining.pages.quality_page import quality_page
from retraining.pages.run_page import run_page

_OF_A_DAG: dict[str, Callable[..., Response]] = {
    "/dags/{dag_id}/promotions": promotions_page,
    "/dags/{dag_id}/data": quality_page,
    "/dags/{dag_id}/runs/{run_id}/{path:path}": run_page,
}
_WORDS = {
    401: "You are not logged in: log in to Airflow, and open this page again.",
    403: "You may not read this DAG: ask whoever administers Airflow.",
    404: "There is no such page.",
}


def pages_app() -> FastAPI:
    """Serve the pages to users who may read the DAG; without these checks a plugin's routes are public."""
    app = FastAPI(title="Retraining pages", docs_url=None, redoc_url=None, openapi_url=None)
    may_read = [Depends(_one_dag), Depends(requires_access_dag("GET"))]
    is_known = [Depends(get_user)]
    for path, answer in _OF_A_DAG.items():
        app.add_api_route(path, answer, dependencies=may_read, response_model=None, response_class=Response)
    of_all: dict[str, Callable[..., Response]] = {"/models": models_page, "/static/{name}": _static}
    for path, answer in of_all.items():
        app.add_api_route(path, answer, dependencies=is_known, response_model=None, response_class=Response)
    app.add_exception_handler(AnyHTTPException, _trouble)
    app.add_exception_handler(SincereError, _misset)
    return app


def _one_dag(dag_id: str) -> None:
    """Airflow takes `~` for any DAG."""
    if dag_id == "~":
        raise HTTPException(404, "There is no such DAG.")


def _static(name: str) -> Response:
    files = {path.name: path for path in (FOLDER / "static").iterdir()}
    if name not in files:
        raise HTTPException(404)
    return FileResponse(files[name], headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})


def _trouble(request: Request, error: Exception) -> Response:
    """Answer with the status as it is, and a page that a person can read."""
    assert isinstance(error, AnyHTTPException)
    words = _WORDS.get(error.status_code, error.detail)
    return page(request, "trouble.html.jinja", status=error.status_code, text=words)


def _misset(request: Request, error: Exception) -> Response:
    """Say what is wrong with the API server's own settings."""
    assert isinstance(error, SincereError)
    words = f"{error.what[:1].upper()}{error.what[1:]} ({error.where}). What to do: {error.fix}."
    return page(request, "trouble.html.jinja", status=503, text=words)
