"""Step `split`: divide the rows into train, validation and test, so that no text is in two of them."""

import hashlib
import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from ml.config import Config, SplitConfig
from ml.data.change import describe_since
from ml.data.contamination import foresee_contamination
from ml.data.expectations import explain, read_suites, run_suite
from ml.data.normalise import normalise
from ml.data.quality import keep_quality
from ml.data.questions_page import CHANGE_DOCS, SPLITS_DOCS, WHOLE_DOCS, write_exploration
from ml.data.rows import ROWS_SCHEMA, store_part
from ml.data.validate import require
from ml.errors import DataError, LineageError
from ml.records import RawSnapshot, SplitName, Splits, ValidationReport, digest
from ml.run import Run

logger = logging.getLogger(__name__)

LABELS = ("sincere", "insincere")
_PARTS: tuple[SplitName, SplitName, SplitName] = ("train", "validation", "test")
_DIGEST_BYTES = 8


def split(config: Config, run: Run, snapshot: RawSnapshot, report: ValidationReport) -> Splits:
    """Divide the rows, check the parts, write the page, store them; raises LineageError without a passed report.

    Raises DataError if the champion knows so many test rows that too few remain, RegistryUnavailable if the registry
    does not tell which model is the champion.
    """
    _check_lineage(snapshot, report)
    rows = (
        pa.parquet.read_table(run.store.open("snapshots", snapshot.sha256) / "rows.parquet")
        .select(ROWS_SCHEMA.names)
        .cast(ROWS_SCHEMA)
    )
    texts = [normalise(text) for text in rows["question_text"].to_pylist()]
    targets = rows["target"].to_numpy()
    _check_classes(targets)
    text_ids, _ = pd.factorize(pd.Series(texts))
    parts = divide(config.split, texts, text_ids, targets)
    tables = {name: rows.take(parts[name]) for name in _PARTS}
    _check_sizes(tables)
    duplicates, conflicts = len(texts) - int(text_ids.max()) - 1, count_conflicts(text_ids, targets)
    note = f"Rows that repeat a text: {duplicates:,}; texts with both labels: {conflicts:,}."
    logger.info(note)

    suites = read_suites(config.validate)
    findings = run_suite(suites.splits, _figures(parts, text_ids, targets), run.report_folder / SPLITS_DOCS)
    keep_quality(run, "split", {SPLITS_DOCS: findings}, snapshot=snapshot.sha256, rows=len(targets))
    write_exploration(
        run.report_folder / "exploration.html",
        findings={
            WHOLE_DOCS: explain(suites.raw, report.checks),
            CHANGE_DOCS: explain(suites.change, report.checks),
            SPLITS_DOCS: findings,
        },
        tables=[("The whole file", rows), *tables.items()],
        note=f"{note} {describe_since(report.since)}",
    )
    require(findings, suites.splits, f"{run.run_id}/{SPLITS_DOCS}/index.html")
    checks = [*report.checks, *(finding.check for finding in findings)]
    train, validation, test = (store_part(run.store, name, tables[name]) for name in _PARTS)
    foresee_contamination(config.split, run, test)
    return Splits(
        snapshot=snapshot.sha256,
        report=digest(report),
        strategy=config.split.strategy,
        seed=config.split.seed,
        labels=LABELS,
        parts=(train, validation, test),
        duplicate_texts=duplicates,
        conflicting_texts=conflicts,
        warnings=tuple(check for check in checks if not check.passed),
    )


def divide(
    config: SplitConfig, texts: list[str], text_ids: np.ndarray, targets: np.ndarray
) -> dict[SplitName, np.ndarray]:
    """Return the row numbers of each part, ascending; `texts` are normalised. Equal `text_ids` mean equal texts.

    `texts`, `text_ids` and `targets` have the shape [rows].
    """
    if config.strategy == "hash":
        return _by_hash(config, texts)
    return _without_shared_texts(_at_random(config, targets), text_ids)


def count_conflicts(text_ids: np.ndarray, targets: np.ndarray) -> int:
    """Count the texts that occur with both labels."""
    return len(np.intersect1d(text_ids[targets == 0], text_ids[targets == 1]))


def _by_hash(config: SplitConfig, texts: list[str]) -> dict[SplitName, np.ndarray]:
    """Choose a row's part by its text's salted hash alone: no row moves when others are added or removed.

    The test part has the high end of the hashes, validation lies below it, train has the low end: as long as the test
    fraction is the same, no row that judged a model trains another, whatever the other fractions are.
    """
    key = hashlib.sha256(config.salt.encode()).digest()
    hashes = b"".join(hashlib.blake2b(text.encode(), key=key, digest_size=_DIGEST_BYTES).digest() for text in texts)
    position = np.frombuffer(hashes, dtype=">u8") / 2.0**64
    test = 1 - config.test
    validation = test - config.validation
    return {
        "train": np.flatnonzero(position < min(config.train, validation)),
        "validation": np.flatnonzero((validation <= position) & (position < test)),
        "test": np.flatnonzero(position >= test),
    }


def _at_random(config: SplitConfig, targets: np.ndarray) -> dict[SplitName, np.ndarray]:
    """Split as the notebook does: scikit-learn's stratified split of the file, then of the remaining rows.

    `validation` is a fraction of the rows that remain after train, `test` a fraction of the whole file.
    """
    everything = np.arange(len(targets))
    train, remaining = _sample(everything, targets, config.train, config.seed)
    validation, remaining = _sample(remaining, targets, config.validation, config.seed)
    test_rows = round(config.test * len(targets))
    if test_rows < len(remaining):
        remaining, _ = _sample(remaining, targets, test_rows, config.seed)
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(remaining)}


def _sample(rows: np.ndarray, targets: np.ndarray, size: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    try:
        sampled, left = train_test_split(rows, random_state=seed, train_size=size, stratify=targets[rows])
    except ValueError:
        raise _too_few(f"{len(rows)} rows cannot be divided with both classes on each side") from None
    return sampled, left


def _without_shared_texts(parts: Mapping[SplitName, np.ndarray], text_ids: np.ndarray) -> dict[SplitName, np.ndarray]:
    """Drop validation rows whose text is in train, and test rows whose text is in train or validation."""
    train, validation, test = (parts[name] for name in _PARTS)
    kept_validation = validation[~np.isin(text_ids[validation], text_ids[train])]
    seen = np.concatenate([text_ids[train], text_ids[kept_validation]])
    kept_test = test[~np.isin(text_ids[test], seen)]
    dropped = len(validation) + len(test) - len(kept_validation) - len(kept_test)
    if dropped:
        logger.info("%d rows left validation and test: an earlier part has their text", dropped)
    return {"train": train, "validation": kept_validation, "test": kept_test}


def _check_lineage(snapshot: RawSnapshot, report: ValidationReport) -> None:
    if report.snapshot != snapshot.sha256:
        what = f"the report is about snapshot {report.snapshot[:12]}, not {snapshot.sha256[:12]}"
    elif not report.passed:
        what = "the snapshot did not pass validation"
    else:
        return
    raise LineageError(what, where="step split", fix="run validate on this snapshot, and go on only if it passes")


def _check_classes(targets: np.ndarray) -> None:
    if len(np.unique(targets)) < len(LABELS):
        raise _too_few("all rows have the same label")


def _check_sizes(tables: Mapping[SplitName, pa.Table]) -> None:
    for name, table in tables.items():
        if not table.num_rows:
            raise _too_few(f"the part {name} would be empty")


def _figures(parts: Mapping[SplitName, np.ndarray], text_ids: np.ndarray, targets: np.ndarray) -> pd.DataFrame:
    """Return one row of figures for each part; `balance_deviation` is in standard errors of the share of positives."""
    whole = targets.mean()
    figures = []
    for name, rows in parts.items():
        others = np.concatenate([text_ids[parts[other]] for other in parts if other != name])
        positives = int(targets[rows].sum())
        standard_error = np.sqrt(whole * (1 - whole) / max(1, len(rows)))
        figures.append(
            {
                "part": name,
                "rows": len(rows),
                "positives": positives,
                "negatives": len(rows) - positives,
                "balance_deviation": abs(positives / max(1, len(rows)) - whole) / standard_error,
                "shared_texts": int(np.isin(text_ids[rows], others).sum()),
            }
        )
    return pd.DataFrame(figures)


def _too_few(what: str) -> DataError:
    return DataError(
        what, where="step split", fix="bring more rows of both classes, or change the fractions of [split]"
    )
