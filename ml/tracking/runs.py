"""Steps as runs of W&B: grouped by the pipeline's run, with settings, live figures, artifacts and where they come from.

A step is recorded on disk, and sent from there: while it trains, and at its end. What W&B does not take stays, and is
sent after a later step. So the step's own process never talks to W&B but to ask whether it is there.
"""

import logging
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ml.config import Config
from ml.config.redaction import public_name, public_settings
from ml.fingerprint import code_version
from ml.records import Comparison, Decision, Promotion, Record
from ml.registry.wandb.address import Address, parse_address
from ml.run import Run
from ml.tracking import NoTracker, TrackedStep
from ml.tracking.artifacts import make_artifact, make_media
from ml.tracking.contents import Place, content_of, is_shown
from ml.tracking.pending import PendingRuns, Sending, Unsent
from ml.tracking.recorded import CONNECT_SECONDS, Expected, RecordedRun
from ml.tracking.report import PromotionReport
from ml.tracking.trouble import reason, warn

JOBS = ("snapshot", "validate", "split", "train", "evaluate", "decide", "promote")
LIVE_JOBS = ("train",)
FLUSH_SECONDS = 2.0
DEFAULT_PROJECT = "sincere"
LOCAL_MODELS = "insincere-questions"
_LONGEST_TAG = 64

logger = logging.getLogger(__name__)


class WandbTracker:
    """Makes a run of each step of `JOBS`; `environment` has W&B's own variables."""

    def __init__(self, home: Path, environment: Mapping[str, str], *, offline: bool) -> None:
        self._home = home
        self._environment = environment
        self._offline = offline
        self._pending = PendingRuns(home)
        registry = environment.get("SINCERE_REGISTRY", "")
        default = Address(entity="", project=DEFAULT_PROJECT, model=LOCAL_MODELS)
        self._registry = parse_address(registry) if registry.startswith("wandb:") else default
        self._trouble = ""

    @contextmanager
    def track(self, step: str, config: Config, pipeline_run: Run, taken: Sequence[Record]) -> Iterator[TrackedStep]:
        """The step as a run with what it was given; it fails with the step, and the step never with it."""
        with ExitStack() as delivery:
            tracked = self._begin(step, config, pipeline_run, delivery) if step in JOBS else NoTracker()
            if isinstance(tracked, NoTracker):
                yield tracked
                return
            tracked.use(taken)
            try:
                yield tracked
            except BaseException as error:
                tracked.finish(failure=type(error).__name__)
                raise
            tracked.finish()

    def _begin(self, step: str, config: Config, pipeline_run: Run, delivery: ExitStack) -> "WandbStep | NoTracker":
        """The step with its run; `delivery` is what remains to be done at the end."""
        # A dry run leaves the registry's collection alone.
        models = LOCAL_MODELS if pipeline_run.dry_run else self._registry.model
        run_id = secrets.token_hex(4)
        try:
            if not self._offline:
                mark = delivery.enter_context(self._pending.begin(run_id))
            run = self._start(run_id, step, config, pipeline_run)
            tracked = WandbStep(run, Place(config=config, pipeline_run=pipeline_run, models=models))
            if not self._offline:
                live = [Sending(Path(run.settings.sync_dir), mark, live=True)] if step in LIVE_JOBS else []
                delivery.callback(self._deliver, config, mark, live)
            return tracked
        except Exception as error:
            warn(f"the step {step} is not shown", error)
            return NoTracker()

    def _start(self, run_id: str, step: str, config: Config, pipeline_run: Run) -> Any:
        import wandb

        folder = self._home / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str(folder / "data"))
        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,  # it would name this machine, its user and its folders
            x_save_requirements=False,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
            host="sincere",
            program="ml",
        )
        about = self._destination(config) | _description(step, config, pipeline_run)
        return wandb.init(mode="offline", id=run_id, dir=str(self._home), settings=settings, **about)

    def _deliver(self, config: Config, mark: IO[str], live: Sequence[Sending]) -> None:
        """Send the run and those of before; without an answer from W&B, nothing is waited for."""
        try:
            deadline = time.monotonic() + (config.tracking.upload_seconds if self._ask_entity() else 0)
            for sending in live:
                with suppress(Unsent):
                    sending.wait(deadline)
            mark.close()
            reasons = self._pending.send(deadline)
        except Exception as error:
            warn("this run is not sent", error)
            return
        if reasons:
            why = self._trouble or reasons[0]
            logger.warning("W&B: %d runs wait on disk, and are sent after a later step (%s)", len(reasons), why)

    def _destination(self, config: Config) -> dict[str, Any]:
        """Entity and project; where nobody names an entity, it is the key's own."""
        asked, names = config.tracking, self._environment
        entity = _first(asked.entity, names.get("WANDB_ENTITY", ""), self._registry.entity) or self._own_entity()
        project = _first(asked.project, names.get("WANDB_PROJECT", ""), self._registry.project)
        return {"project": project, **({"entity": entity} if entity else {})}

    def _own_entity(self) -> str:
        """The key's own entity, as W&B says or said: artifacts that bear none are lost on their way."""
        kept = self._home / "wandb" / "entity"
        entity = "" if self._offline else self._ask_entity()
        if entity:
            kept.write_text(entity, encoding="utf-8")
        return kept.read_text(encoding="utf-8") if kept.exists() else ""

    def _ask_entity(self) -> str:
        """The key's own entity, or "" if W&B does not answer."""
        import wandb

        self._trouble = ""
        try:
            return wandb.Api(timeout=CONNECT_SECONDS).default_entity or ""
        except Exception as error:
            self._trouble = reason(error)
            return ""


class WandbStep:
    """One step with its run."""

    def __init__(self, run: Any, place: Place) -> None:
        self.run = run
        self.place = place
        self._records: dict[type, Record] = {}
        self._recorded = RecordedRun(Path(run.settings.sync_dir))
        self._expected = Expected(id=run.id, name=run.name, entity=run.entity, project=run.project)
        self._recorded.expect(self._expected)
        self._warned = False

    def use(self, taken: Sequence[Record]) -> None:
        """Show what the step was given, and the model that a comparison is about, as artifacts that it used."""
        self._records = {type(record): record for record in taken}
        candidates = [record.trained for record in taken if isinstance(record, Comparison)]
        for record in (*taken, *candidates):
            if is_shown(type(record)):
                with self._harmless("an input is not shown"):
                    content = content_of(record, self.place)
                    # What `use_artifact` does, which refuses to do it offline.
                    self.run._log_artifact(
                        make_artifact(content, self.place), is_user_created=True, use_after_commit=True
                    )
                    self._expect(used=(*self._expected.used, content.name))

    def observe(self, step: int, figures: Mapping[str, float]) -> None:
        """Show figures as they come."""
        with self._harmless("figures are not shown"):
            self.run.log(dict(figures), step=step)

    def conclude(self, record: Record) -> None:
        """Show what came of the step: as the run's summary, as tables and pictures, as an artifact."""
        with self._harmless("the result is not shown"):
            self._records[type(record)] = record
            content = content_of(record, self.place)
            self.run.summary.update({content.name: dict(content.facts)})
            media = make_media(content)
            if media:
                self.run.log(media)
            self.run.log_artifact(make_artifact(content, self.place))
            self._expect(logged=(*self._expected.logged, content.name))

    def finish(self, failure: str = "") -> None:
        """End the run, as failed with the name of an error if there is one."""
        with self._harmless("the run has no end"):
            self._expect(ended=True)
            self._ask_for_report()
            if failure:
                self.run.summary["failure"] = failure
            self.run.finish(exit_code=int(bool(failure)))

    def _expect(self, **more: Any) -> None:
        """What W&B must have in the end."""
        self._expected = replace(self._expected, **more)
        self._recorded.expect(self._expected)

    def _ask_for_report(self) -> None:
        """If the step was a promotion."""
        run, pipeline_run = self.run, self.place.pipeline_run
        match [self._records.get(kind) for kind in (Comparison, Decision, Promotion)]:
            case [Comparison() as comparison, Decision() as decision, Promotion(promoted=True) as promotion]:
                report = PromotionReport(
                    entity=run.entity,
                    project=run.project,
                    run_id=pipeline_run.run_id,
                    run_url=pipeline_run.run_url,
                    comparison=comparison,
                    decision=decision,
                    promotion=promotion,
                )
                self._recorded.ask_for(report)

    @contextmanager
    def _harmless(self, consequence: str) -> Iterator[None]:
        """Trouble is one warning a step, not an error."""
        try:
            yield
        except Exception as error:
            if not self._warned:
                warn(consequence, error)
            self._warned = True


def _description(step: str, config: Config, pipeline_run: Run) -> dict[str, Any]:
    flags = {"dry run": pipeline_run.dry_run, "forced": pipeline_run.force}
    return {
        "group": pipeline_run.run_id,
        "job_type": step,
        "name": f"{step} {pipeline_run.run_id}",
        "notes": f"{pipeline_run.triggered_by}: {pipeline_run.run_url}",
        "tags": [public_name(config.encoder.source)[-_LONGEST_TAG:], *(flag for flag, on in flags.items() if on)],
        "config": {
            **public_settings(config),
            "run": {"id": pipeline_run.run_id, "url": pipeline_run.run_url, "triggered_by": pipeline_run.triggered_by},
            "code": code_version(),
        },
    }


def _first(*names: str) -> str:
    return next((name for name in names if name not in ("", "auto")), "")
