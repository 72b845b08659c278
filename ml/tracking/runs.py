"""Steps as runs of W&B: grouped by the pipeline's run, with settings, live figures, artifacts and where they come from.

W&B's client sends a run while it goes on, and records it on disk too. If W&B does not answer at the beginning, the run
is recorded only. What W&B does not have whole at the end of the step is sent after a later step (unsent_runs.py).
"""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml.config import Config
from ml.config.redaction import public_name, public_settings
from ml.fingerprint import code_version
from ml.records import Comparison, Decision, Promotion, Record
from ml.registry.wandb.address import Address, parse_address
from ml.run import Run
from ml.store.locks import locked
from ml.tracking import NoTracker, TrackedStep
from ml.tracking.artifacts import make_artifact, make_media
from ml.tracking.contents import Content, Place, content_of, is_shown
from ml.tracking.expected import Expected
from ml.tracking.promotion_report import PromotionReport
from ml.tracking.unsent_runs import CONNECT_SECONDS, RecordedRun, reason, send_unsent

JOBS = ("snapshot", "validate", "split", "train", "evaluate", "decide", "approve", "promote")
DEFAULT_PROJECT = "sincere"
LOCAL_MODELS = "insincere-questions"
_LONGEST_TAG = 64

logger = logging.getLogger(__name__)


class WandbTracker:
    """Makes a run of each step of `JOBS`; `environment` has W&B's own variables."""

    def __init__(self, home: Path, environment: Mapping[str, str], *, offline: bool) -> None:
        self._folder = home / "wandb"
        self._environment = environment
        self._offline = offline
        registry = environment.get("SINCERE_REGISTRY", "")
        default = Address(entity="", project=DEFAULT_PROJECT, model=LOCAL_MODELS)
        self._registry = parse_address(registry) if registry.startswith("wandb:") else default

    @contextmanager
    def track(self, step: str, config: Config, pipeline_run: Run, taken: Sequence[Record]) -> Iterator[TrackedStep]:
        """The step as a run with what it was given; it fails with the step, and the step never with it."""
        tracked = self._begin(step, config, pipeline_run) if step in JOBS else NoTracker()
        if isinstance(tracked, NoTracker):
            yield tracked
            return
        tracked.use(taken)
        failure = ""
        try:
            yield tracked
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            deadline = time.monotonic() + config.tracking.upload_seconds
            tracked.finish(failure)
            self._deliver(deadline)

    def _begin(self, step: str, config: Config, pipeline_run: Run) -> "WandbStep | NoTracker":
        # A dry run leaves the registry's collection alone.
        models = LOCAL_MODELS if pipeline_run.dry_run else self._registry.model
        try:
            run = self._start(step, config, pipeline_run)
            return WandbStep(
                run, Place(config=config, pipeline_run=pipeline_run, models=models), never_sent=self._offline
            )
        except Exception as error:
            _warn(f"the step {step} is not shown", error)
            return NoTracker()

    def _start(self, step: str, config: Config, pipeline_run: Run) -> Any:
        """A run that W&B knows already, or else one that is recorded only."""
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str(self._folder / "data"))
        about = _description(step, config, pipeline_run)
        if not self._offline:
            run_id = secrets.token_hex(4)
            try:
                run = wandb.init(mode="online", id=run_id, settings=self._settings(config), **about)
            except Exception:  # each of the client's layers has errors of its own; the end of the step tells of it
                self._remove(run_id)
            else:
                self._known_entity.write_text(run.entity, encoding="utf-8")
                return run
        settings = self._settings(config)
        if not settings.entity and self._known_entity.exists():
            settings.entity = self._known_entity.read_text(encoding="utf-8")
        # The service goes on holding the id of a run that did not begin.
        return wandb.init(mode="offline", id=secrets.token_hex(4), settings=settings, **about)

    def _remove(self, run_id: str) -> None:
        """What the client left of a run that did not begin."""
        for left in self._folder.glob(f"run-*-{run_id}"):
            shutil.rmtree(left, ignore_errors=True)

    @property
    def _known_entity(self) -> Path:
        """Where the entity of the last online run is kept: a run that is recorded without one loses its artifacts."""
        return self._folder / "entity"

    def _settings(self, config: Config) -> Any:
        """Where nobody names an entity, it is the key's own."""
        import wandb

        asked, names = config.tracking, self._environment
        return wandb.Settings(
            root_dir=str(self._folder.parent),
            entity=_first(asked.entity, names.get("WANDB_ENTITY", ""), self._registry.entity) or None,
            project=_first(asked.project, names.get("WANDB_PROJECT", ""), self._registry.project),
            login_timeout=CONNECT_SECONDS,
            init_timeout=CONNECT_SECONDS,
            finish_timeout=asked.upload_seconds,
            finish_timeout_raises=True,
            # Before an artifact the client asks what the server can do. The time to finish begins only when that is
            # answered, or was tried as often as this (tests/tracking/test_wandb_client.py).
            x_graphql_timeout_seconds=CONNECT_SECONDS,
            x_graphql_retry_wait_max_seconds=1,
            x_graphql_retry_wait_min_seconds=1,
            x_graphql_retry_max=2,
            silent=True,
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_meta=True,  # it would name this machine, its user and its folders
            x_save_requirements=False,
            host="sincere",
            program="ml",
        )

    def _deliver(self, deadline: float) -> None:
        """Send what waits; without an answer from W&B, nothing is waited for."""
        if self._offline:
            return
        try:
            reasons = send_unsent(self._folder, deadline)
        except Exception as error:
            _warn("this run is not sent", error)
            return
        if reasons:
            logger.warning("W&B: %d runs wait on disk, and are sent after a later step (%s)", len(reasons), reasons[0])


class WandbStep:
    """One step with its run."""

    def __init__(self, run: Any, place: Place, *, never_sent: bool) -> None:
        self.run = run
        self.place = place
        self._records: dict[type, Record] = {}
        self._recorded = RecordedRun(Path(run.settings.sync_dir))
        self._held = ExitStack()
        self._held.enter_context(locked(self._recorded.lock, waiting="waiting for a process that sends this run"))
        self._never_sent = never_sent
        self._expected = Expected(id=run.id, name=run.name, entity=run.entity or "", project=run.project)
        self._expect()
        self._warned = False

    def use(self, taken: Sequence[Record]) -> None:
        """Show what the step was given, and the model that a comparison is about, as artifacts that it used."""
        self._records = {type(record): record for record in taken}
        candidates = [record.trained for record in taken if isinstance(record, Comparison)]
        for record in (*taken, *candidates):
            if is_shown(type(record)):
                with self._harmless("an input is not shown"):
                    content = content_of(record, self.place)
                    self._publish(content, used=True)
                    self._expect(used=(*self._expected.used, content.name))

    def observe(self, step: int, figures: Mapping[str, float]) -> None:
        """Show figures as they come."""
        with self._harmless("figures are not shown"):
            self.run.log(dict(figures), step=step)

    def conclude(self, record: Record) -> None:
        """Show what came of the step: as the run's summary, as an artifact, as tables and pictures."""
        with self._harmless("the result is not shown"):
            self._records[type(record)] = record
            content = content_of(record, self.place)
            self.run.summary.update({content.name: dict(content.facts)})
            self._publish(content, used=False)
            self._expect(logged=(*self._expected.logged, content.name))
            self._show_media(content)

    def finish(self, failure: str) -> None:
        """End the run, as failed with the name of an error if there is one."""
        with self._harmless("the run has no end"):
            self._expect(ended=True)
            self._ask_for_report()
            if failure:
                self.run.summary["failure"] = failure
            with suppress(TimeoutError):  # the end of the step tells of it
                self.run.finish(exit_code=int(bool(failure)))
                if not self.run.offline:
                    self._recorded.mark_sent()
        self._held.close()

    def _show_media(self, content: Content) -> None:
        """Show tables and pictures beside the figures, unless W&B is gone: the client asks it before each table."""
        import wandb

        if media := make_media(content):
            with suppress(wandb.errors.CommError):  # the end of the step tells of it
                self.run.log(media)

    def _publish(self, content: Content, *, used: bool) -> None:
        """Record an artifact, and have it sent with the run.

        This is what `log_artifact` does offline. Online, that of wandb 0.31.0 asks W&B first, and leaves the artifact
        out of the recording, so that `wandb sync` cannot send it; `use_artifact` waits for the upload without limit,
        and refuses to work offline. tests/tracking/test_wandb_client.py shows it.
        """
        artifact = make_artifact(content, self.place)
        artifact.finalize()
        self.run._interface.publish_artifact(
            self.run, artifact, aliases=["latest"], is_user_created=used, use_after_commit=used
        )

    def _expect(self, **more: Any) -> None:
        """What W&B must have in the end."""
        self._expected = replace(self._expected, **more)
        self._recorded.expect(self._expected, offline=self._never_sent)

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
                _warn(consequence, error)
            self._warned = True


def _warn(consequence: str, error: Exception) -> None:
    """The step goes on."""
    logger.warning("W&B: %s (%s)", consequence, reason(error))


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
