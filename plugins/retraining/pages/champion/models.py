"""The entry Models of the navigation: each DAG of this kind that the reader may read, with its champion."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Request
from fastapi.responses import Response

from ml.records import HistoryEntry
from ml.store import Store
from retraining.pages.access import dags_of_kind, model_of_dag
from retraining.pages.champion.answer import Answer, Away, ask_registry
from retraining.pages.champion.decisions import JUDGED, WORDS, NobodyYet, Reign, reign_of
from retraining.pages.champion.place import place_of
from retraining.pages.champion.promotions import COLOURS, alarms
from retraining.pages.layout import page
from retraining.pages.run_links import RunLink, RunLinks
from retraining.pages.words import day


class Model(NamedTuple):
    """A DAG of this kind, what its registry says, and its last decision, where there is one."""

    dag_id: str
    away: Away | bool
    reign: Reign | bool
    last: HistoryEntry | bool
    why: RunLink | bool
    alarms: Sequence[str]


def models_page(request: Request, user: GetUserDep) -> Response:
    """Show the DAGs of this kind that the user may read."""
    readable = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")
    models = [model for dag_id in dags_of_kind() if dag_id in readable for model in _models(request, dag_id)]
    return page(request, "models.html.jinja", models=models, words=WORDS, colours=COLOURS, day=day)


def _models(request: Request, dag_id: str) -> Iterator[Model]:
    place = place_of(model_of_dag(dag_id))
    answer, store = ask_registry(place), Store(place.home / "store")
    reign = reign_of(answer.history, store, most=1)
    links = RunLinks(request, dag_id)
    last = _last(answer)
    yield Model(
        dag_id,
        away=answer if isinstance(answer, Away) else False,
        reign=False if isinstance(reign, NobodyYet) else reign,
        last=last[0] if last else False,
        why=links.of(last[0].run_id) if last else False,
        alarms=alarms(answer.history, store),
    )


def _last(answer: Answer) -> Sequence[HistoryEntry]:
    """Return the last verdict on a candidate; empty if there is none."""
    return [entry for entry in answer.history if entry.verdict in JUDGED][-1:]
