"""The operators of the steps that do more to Airflow than run: skip, add events of assets, leave notes."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import DownstreamTasksSkipped

from retraining.model import Model
from retraining.outcome.run_outcome import kept_entry, kept_record, leave_note
from retraining.params import CLEANING, ROLLBACK, SCORING, folder_name, refuse_unknown, run_flags, run_name, run_url
from retraining.source import output_of, refuse_config, source_of, with_credentials, with_date
from retraining.step.step_operator import StepOperator, conf_of, program, refuse_backfill, run_identity

logger = logging.getLogger(__name__)


class EvaluateOperator(StepOperator):
    """The step `evaluate`, given the records of `split` and `train`; its time limit follows from rows and rate.

    A step that exceeds the limit is ended and retried; the scores of each model that it finished are kept.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="evaluate", **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step within its time limit."""
        watchdog = Timer(evaluation_seconds(*self.records), self._end_overdue)
        watchdog.start()
        try:
            return super().execute(context)
        finally:
            watchdog.cancel()

    def _end_overdue(self) -> None:
        logger.error("step evaluate took far longer than its rows should take: it is ended")
        self.on_kill()


class DetectOperator(StepOperator):
    """The step `detect`; if nothing has changed, the later steps are skipped and the run is a success.

    They are skipped all at once: Airflow would take a second for each step that is skipped because another was.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="detect", **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Let the run go on, or raise DownstreamTasksSkipped with all later steps."""
        change = super().execute(context)
        if not change["changed"]:
            self.log.info("%s", change["reason"])
            later = self.get_flat_relatives(upstream=False)
            steps = [task.task_id for task in later if isinstance(task, StepOperator)]
            raise DownstreamTasksSkipped(tasks=steps)  # type: ignore[no-untyped-call]
        return change


class PromoteOperator(StepOperator):
    """The step `promote`; the champion's asset gets an event only if the candidate became the champion."""

    def __init__(self, *, champion: Asset, **kwargs: Any) -> None:
        # `approve` is skipped where nobody is asked; a run that ends early skips all that promote takes.
        rule = "none_failed_min_one_success"
        super().__init__(step="promote", outlets=[_promotions(champion)], trigger_rule=rule, **kwargs)
        self.champion = champion

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, and add the asset's event if the candidate was promoted."""
        promotion = super().execute(context)
        if promotion["promoted"]:
            figures = {**self.records[0]["candidate"], "version": promotion["candidate"]["version"]}
            event = context["outlet_events"][_promotions(self.champion)]
            event.add(self.champion, extra=champion_extra(context, "promoted", figures))
        return promotion


class RollbackOperator(StepOperator):
    """Run `python -m ml rollback`; the champion's asset gets an event, since the alias has moved."""

    def __init__(self, *, champion: Asset, **kwargs: Any) -> None:
        super().__init__(step="rollback", config="", outlets=[champion], **kwargs)
        self.champion = champion

    def execute(self, context: Context) -> dict[str, Any]:
        """Roll back, and say in the asset's event which version is the champion again."""
        with _noted(context, self.model, folder_name(context["run_id"])):
            rollback = super().execute(context)
        extra = champion_extra(context, "rolled back", kept_entry(self.model, context["run_id"], "rollback"))
        context["outlet_events"][self.champion].extra = extra
        return rollback

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = context["params"]
        refuse_unknown(conf_of(context), ROLLBACK)
        command = [*program(), self.step, f"--reason={params['reason']}", *run_flags({"force": params.get("force")})]
        if params["version"] is not None:
            command.append(f"--to={params['version']}")
        return [*command, *self._identity(context)]


class ScoreOperator(StepOperator):
    """Run `python -m ml score` on the questions that the trigger or production names."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="score", **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the step, and leave the run's note."""
        with _noted(context, self.model, run_name(self.dag_id, context["run_id"])):
            return super().execute(context)

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = context["params"]
        refuse_backfill(context)
        refuse_unknown(conf_of(context), SCORING)
        refuse_config(params, self.model)
        named = {
            "source.uri": source_of(params, "questions", self.model),
            "score.output": output_of(params, self.model),
        }
        filled = {
            setting: with_credentials(with_date(value, self.get_template_env(), context))
            for setting, value in named.items()
            if value is not None
        }
        settings = self._write_settings(folder, [f"{name} = {json.dumps(value)}" for name, value in filled.items()])
        return [*program(), self.step, "--config", str(settings), *run_flags(params), *self._identity(context)]

    def _identity(self, context: Context) -> list[str]:
        return run_identity(context, run_name(self.dag_id, context["run_id"]))


class CleanUpOperator(StepOperator):
    """Run `python -m ml gc` on the model's home and, for one of the models, on Airflow's log files."""

    operator_extra_links = ()  # it has no report

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="gc", **kwargs)

    def _command(self, context: Context, folder: Path) -> list[str]:
        params = context["params"]
        refuse_unknown(conf_of(context), CLEANING)
        refuse_config(params, self.model)
        settings = self._write_settings(folder, ())
        logs = ["--logs", str(_log_folder())] if self.model.has_airflows_logs else []
        return [*program(), self.step, "--config", str(settings), *logs, *run_flags(params), *self._identity(context)]

    def _identity(self, context: Context) -> list[str]:
        return run_identity(context, run_name(self.dag_id, context["run_id"]))


def _log_folder() -> Path:
    return Path(conf.get("logging", "base_log_folder")).expanduser()


@contextmanager
def _noted(context: Context, model: Model, reports: str) -> Iterator[None]:
    """Leave the run's note when the step has ended, however it did; `reports` is the name of the run's folder."""
    try:
        yield
    finally:
        for told in filter(None, [kept_record(model, reports, "RunOutcome")]):
            leave_note(context["ti"], told)


def evaluation_seconds(splits: Mapping[str, Any], trained: Mapping[str, Any]) -> float:
    """Return the time limit of an evaluation: an hour, and four times a training on the test rows.

    Scoring a row takes about a third of training on it, and there are two models.
    """
    rows = sum(part["rows"] for part in splits["parts"] if part["name"] == "test")
    return 3600 + 4 * float(rows / max(trained["examples_per_second"], 0.01))


def champion_extra(context: Context, verdict: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an event of the champion's asset says: version, figures on its test rows, verdict, and the page."""
    told = {name: figures[name] for name in ("version", "precision", "recall")}
    return {**told, "verdict": verdict, "report": f"{run_url(context['ti'])}/plugin/report"}


def _promotions(champion: Asset) -> AssetAlias:
    return AssetAlias(f"{champion.name}_promotions")
