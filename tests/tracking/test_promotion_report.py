import json

import wandb

from ml.records import ModelVersion, NoChampion, Promotion, digest
from ml.tracking.promotion_report import PromotionReport
from tests.judge.examples import RIVAL, compare, judged
from tests.wandb_server.state import ENTITY

CANDIDATE = "a" * 64


def write(wandb_server, rival):
    comparison = compare(CANDIDATE, rival)
    decision = judged(comparison)
    promotion = Promotion(
        promoted=True,
        verdict="promote",
        candidate=ModelVersion(version="v2", model=CANDIDATE),
        alias="production",
        previous=decision.champion,
        decision=digest(decision),
    )
    report = PromotionReport(
        entity=ENTITY,
        project="quora",
        run_id="run-1",
        run_url="http://airflow.example/runs/run-1",
        comparison=comparison,
        decision=decision,
        promotion=promotion,
    )
    with wandb.init(entity=ENTITY, project="quora"):
        PromotionReport.from_json(report.to_json()).write_once()
        report.write_once()
    (view,) = wandb_server.state.reports.values()
    return view, json.loads(view["spec"])


def markdown(spec):
    return next(block["content"] for block in spec["blocks"] if block["type"] == "markdown-block")


def test_a_report_that_is_asked_for_twice_is_there_once_with_the_decision_and_both_models_side_by_side(wandb_server):
    report, spec = write(wandb_server, RIVAL)

    assert report["displayName"] == "Promotion of v2 by run-1"
    assert (report["project"]["entityName"], report["project"]["name"]) == (ENTITY, "quora")
    assert "**v2** took over `production` from v1." in markdown(spec)
    assert "|  | candidate | champion | baseline |" in markdown(spec)
    assert "| precision | 0.7000 | 0.6500 | 0.5000 |" in markdown(spec)
    assert "| ✓ | precision floor | 0.7000 | at least 0.5000 |" in markdown(spec)
    assert "http://airflow.example/runs/run-1" in markdown(spec)
    assert wandb_server.unknown == []


def test_a_report_shows_curves_and_slices_of_its_run_alone(wandb_server):
    _, spec = write(wandb_server, RIVAL)

    text = json.dumps(spec)
    shown = ["train/loss", "validation/average_precision", "pictures/confusion_champion", "tables/slices"]
    assert [name for name in shown if name not in text] == []
    grid = next(block for block in spec["blocks"] if block["type"] == "panel-grid")
    filters = json.dumps(grid["metadata"]["runSets"][0]["filters"])
    assert ('"group"' in filters, '"run-1"' in filters) == (True, True)


def test_a_first_champion_took_over_from_none(wandb_server):
    _, spec = write(wandb_server, NoChampion())

    assert "**v2** took over `production` from none." in markdown(spec)
    assert "confusion_champion" not in json.dumps(spec)
