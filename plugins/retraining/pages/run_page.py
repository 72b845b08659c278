"""The report of a run, and the files of its folder: Data Docs, pictures, pages."""

from fastapi import HTTPException, Request
from fastapi.responses import FileResponse, Response

from retraining.pages.access import KIND, SCORING, has_tag, may_hold, model_of_dag
from retraining.pages.layout import page
from retraining.pages.report.contents import contents_of
from retraining.pages.report.tasks import tasks_of
from retraining.pages.run_folder import REPORT_HEADERS, is_report, reports_of_run
from retraining.params import folder_name, run_name


def run_page(request: Request, dag_id: str, run_id: str, path: str) -> Response:
    """Show the report of a run, or the file of its folder at `path`."""
    name = run_name(dag_id, run_id) if has_tag(dag_id, SCORING) else folder_name(run_id)
    model = model_of_dag(dag_id)
    if not has_tag(dag_id, *KIND) or not may_hold(dag_id, name):
        raise HTTPException(404)
    folder = reports_of_run(model, name)
    if path:
        if not is_report(folder / path, folder):
            raise HTTPException(404)
        return FileResponse((folder / path).resolve(), headers=REPORT_HEADERS)
    tasks, over = tasks_of(dag_id, run_id)
    return page(request, "run.html.jinja", run_id=run_id, dag_id=dag_id, **contents_of(model, folder, tasks, over=over))
