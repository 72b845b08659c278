"""What a step's task tells Airflow's own metrics, StatsD's or OpenTelemetry's, where these are switched on."""

from collections.abc import Mapping
from typing import Any

from airflow.sdk.observability import stats

from retraining.model import Model


def emit(step: str, model: Model, seconds: float, record: Mapping[str, Any]) -> None:
    """Tell how long a step took, and of a decision its alarms, of its carrying out the verdict."""
    tags = {"model": model.name}
    stats.gauge("sincere.step.seconds", seconds, tags={**tags, "step": step})
    if step == "decide":
        stats.gauge("sincere.alarms", len(record["alarms"]), tags=tags)
    if step == "promote":
        stats.incr("sincere.verdicts", tags={**tags, "verdict": record["verdict"]})
