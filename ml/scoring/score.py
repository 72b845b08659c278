"""Command `score`: score a file with the champion, and watch whether its questions are like those of training."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ml.config import Config, SourceConfig
from ml.config.redaction import AUTO
from ml.config.source_address import public_address
from ml.data.expectations.findings import Finding, worst_severity
from ml.data.expectations.suites import Suite, read_scores_suite
from ml.data.validate import require
from ml.errors import ConfigError, OutputUnavailable
from ml.model.predict import load_model
from ml.model.profile import tally_beside
from ml.records import KnownProfile, ModelDescription, ModelVersion, NoChampion, Profile, Scoring, from_json
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.scoring.destination import check_destination, destination, drop_old_files, put
from ml.scoring.page import write_scoring_page
from ml.scoring.tables import format_of, score_table
from ml.scoring.unsent import ScoredRows, keep_unsent, unsent, unsent_key
from ml.scoring.watch import SCORES_DOCS, watch
from ml.source.fetch import fetch
from ml.store import Store
from ml.store.files import file_digest

logger = logging.getLogger(__name__)


def score(config: Config, run: Run) -> Scoring:
    """Write the rows of `config.source.uri`, with `probability` and `label`, to `config.score.output`.

    A dry run writes them nowhere. Raises ConfigError without a champion, DataError for a file that cannot be scored or
    fails a critical expectation: then nothing is written either.
    """
    _refuse_default(config.source)
    suite = read_scores_suite(config.score)
    check_destination(config)
    champion = _champion(run)
    artifact = run.registry.fetch(champion.version)
    description = from_json((artifact / "model.json").read_text(encoding="utf-8"), ModelDescription)
    then = description.profile
    source = public_address(config.source.uri)
    with run.store.staging() as folder:
        questions = fetch(config.source, folder)
        form = format_of(questions, source)
        output = destination(config, run, form)
        logger.info("champion %s scores %s, a %s file", champion.version, source, form)
        sha256 = file_digest(questions)
        key = unsent_key(sha256, champion, form)
        rows = _scored(run.store, key, lambda: _score(artifact, description, questions, folder, source))
        findings = _watch(run, suite, rows.profile, then, champion)
        record = Scoring(
            champion=champion,
            source=source,
            questions=sha256,
            output="nowhere: a dry run" if run.dry_run else public_address(output),
            scored=file_digest(rows.file),
            format=form,
            threshold=description.threshold,
            now=rows.profile,
            then=then,
            suite=suite.digest,
            worst_severity=worst_severity(findings),
            checks=tuple(finding.check for finding in findings),
        )
        write_scoring_page(run.report_folder / "scoring.html", record, findings)
        require(findings, suite, f"{run.run_id}/{SCORES_DOCS}/index.html", opened_by="score.parameters")
        if not run.dry_run:
            _put(run, config, rows, output)
    _tell(record)
    return record


def _scored(store: Store, key: str, score_now: Callable[[], tuple[Path, Profile]]) -> ScoredRows:
    """Return the rows that an earlier try could not send, else those that are scored now."""
    for kept in unsent(store, key):
        logger.info("these questions were scored before, and not taken: they are sent, not scored again")
        return kept
    return ScoredRows(key, *score_now())


def _score(
    artifact: Path, description: ModelDescription, questions: Path, folder: Path, source: str
) -> tuple[Path, Profile]:
    scored, tally = folder / "scored", tally_beside(description.profile, description.threshold)
    score_table(load_model(artifact), questions, scored, source, tally)
    return scored, tally.profile()


def _put(run: Run, config: Config, rows: ScoredRows, output: str) -> None:
    """Send the rows; those that are not taken are kept for a retry."""
    try:
        put(rows.file, output, config.source)
    except OutputUnavailable:
        keep_unsent(run.store, rows)
        raise
    run.store.drop("unsent", rows.key)
    if config.score.output == AUTO:
        drop_old_files(Path(output).parent, config.score.keep)


def _refuse_default(source: SourceConfig) -> None:
    if source.uri == SourceConfig().uri:
        raise ConfigError(
            "no questions are named",
            where="source.uri",
            fix="name a CSV or Parquet file: --source; in Airflow the Param `questions`, or what the DAG's page names, "
            "such as SINCERE_QUESTIONS",
        )


def _champion(run: Run) -> ModelVersion:
    champion = run.registry.resolve(CHAMPION_ALIAS)
    if isinstance(champion, NoChampion):
        raise ConfigError(
            "there is no champion yet, so nothing can be scored",
            where=f"the registry, alias {CHAMPION_ALIAS}",
            fix="train one first: make retrain, or trigger the DAG that retrains; its promotion starts the scoring",
        )
    return champion


def _watch(run: Run, suite: Suite, now: Profile, then: KnownProfile, champion: ModelVersion) -> Sequence[Finding]:
    if isinstance(then, Profile):
        return watch(run, suite, now, then)
    logger.warning(
        "there is no watch: champion %s was trained before models kept what their rows were like", champion.version
    )
    return ()


def _tell(record: Scoring) -> None:
    now = record.now
    logger.info(
        "scored %d questions: %d are flagged (%.2f %%), with a probability of %.4f or more; written to %s",
        now.rows,
        now.flagged,
        100 * now.flagged / now.rows,
        record.threshold,
        record.output,
    )
