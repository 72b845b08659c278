"""The report of a run, and the files of its folder: Data Docs, pictures, pages."""

from fastapi import HTTPException, Request
from fastapi.responses import FileResponse, Response

from retraining.pages.access import KIND, has_tag, may_hold
from retraining.pages.layout import page
from retraining.pages.run_folder import REPORT_HEADERS, is_report, reports_folder
from retraining.params import folder_name

_PAGES = {
    "evaluation.html": "Evaluation: the verdict, and the models side by side",
    "exploration.html": "The questions: expectations, label counts and lengths",
    "data_docs/index.html": "Data Docs of the file",
    "data_docs_splits/index.html": "Data Docs of the splits",
}


def run_page(request: Request, dag_id: str, run_id: str, path: str) -> Response:
    """Show the report of a run, or the file of its folder at `path`."""
    folder = reports_folder() / folder_name(run_id)
    if not has_tag(dag_id, *KIND) or not may_hold(dag_id, folder.name):
        raise HTTPException(404)
    if path:
        if not is_report(folder / path, folder):
            raise HTTPException(404)
        return FileResponse((folder / path).resolve(), headers=REPORT_HEADERS)
    verdict = folder / "verdict.txt"
    told = verdict.read_text(encoding="utf-8", errors="replace") if is_report(verdict, folder) else ""
    pages = {name: title for name, title in _PAGES.items() if is_report(folder / name, folder)}
    return page(request, "run.html.jinja", run_id=run_id, dag_id=dag_id, pages=pages, verdict=told)
