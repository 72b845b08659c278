"""Where a run's report is, from what the history calls the run."""

from typing import NamedTuple
from urllib.parse import quote

from fastapi import Request

from retraining.pages.access import model_of_dag, runs_of_model
from retraining.params import folder_name


class RunLink(NamedTuple):
    """An address; `top` says that it is a page of Airflow's UI around this one."""

    href: str
    top: bool


class RunLinks:
    """Finds the tab of a run that Airflow knows, else the page of its folder."""

    def __init__(self, request: Request, dag_id: str) -> None:
        self._root = request.scope["root_path"]
        self._airflow = request.scope.get("app_root_path", "").rstrip("/")
        self._dag_id = dag_id
        self._runs = {folder_name(run_id): (dag, run_id) for dag, run_id in runs_of_model(model_of_dag(dag_id))}

    def of(self, folder: str) -> RunLink:
        """Return the link to the report of a run, by the name of its folder."""
        if folder in self._runs:
            dag, run_id = (quote(part, safe="") for part in self._runs[folder])
            return RunLink(f"{self._airflow}/dags/{dag}/runs/{run_id}/plugin/report", top=True)
        return RunLink(self.folder(folder), top=False)

    def of_another(self, folder: str) -> bool:
        """Say whether the folder is known to be of another DAG's run."""
        return self._runs.get(folder, (self._dag_id,))[0] != self._dag_id

    def folder(self, folder: str) -> str:
        """Return where the files of a run's folder begin."""
        dag = self._runs.get(folder, (self._dag_id,))[0]
        return f"{self._root}/dags/{quote(dag, safe='')}/runs/{quote(folder, safe='')}/"
