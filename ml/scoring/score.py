"""Command `score`: score a file with the champion, and watch whether its questions are like those of training."""

import logging
from collections.abc import Sequence

from ml.config import Config, SourceConfig
from ml.config.source_address import public_address
from ml.data.expectations import Finding, Suite, read_scores_suite, worst_severity
from ml.data.validate import require
from ml.errors import ConfigError
from ml.model.predict import load_model
from ml.model.profile import tally_beside
from ml.records import KnownProfile, ModelDescription, ModelVersion, NoChampion, Profile, Scoring, from_json
from ml.registry import CHAMPION_ALIAS
from ml.run import Run
from ml.scoring.destination import check_destination, destination, put
from ml.scoring.page import write_scoring_page
from ml.scoring.tables import format_of, score_table
from ml.scoring.watch import SCORES_DOCS, watch
from ml.source.fetch import fetch
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
    model = load_model(artifact)
    then = from_json((artifact / "model.json").read_text(encoding="utf-8"), ModelDescription).profile
    source = public_address(config.source.uri)
    with run.store.staging() as folder:
        questions, scored = fetch(config.source, folder), folder / "scored"
        form = format_of(questions, source)
        output = destination(config, run, form)
        logger.info("champion %s scores %s, a %s file", champion.version, source, form)
        tally = tally_beside(then, model.threshold)
        score_table(model, questions, scored, source, tally)
        findings = _watch(run, suite, tally.profile(), then, champion)
        record = Scoring(
            champion=champion,
            source=source,
            questions=file_digest(questions),
            output="nowhere: a dry run" if run.dry_run else public_address(output),
            scored=file_digest(scored),
            format=form,
            threshold=model.threshold,
            now=tally.profile(),
            then=then,
            suite=suite.digest,
            worst_severity=worst_severity(findings),
            checks=tuple(finding.check for finding in findings),
        )
        write_scoring_page(run.report_folder / "scoring.html", record, findings)
        require(findings, suite, f"{run.run_id}/{SCORES_DOCS}/index.html", opened_by="score.parameters")
        if not run.dry_run:
            put(scored, output, config.source)
    _tell(record)
    return record


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
