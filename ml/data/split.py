"""Step `split`: divide the rows into train, validation and test, so that no text is in two of them."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ml.config import Config, SplitConfig
from ml.data import text_measures
from ml.data.change import describe_since
from ml.data.contamination import foresee_contamination
from ml.data.expectations.findings import explain
from ml.data.expectations.run import run_suite
from ml.data.expectations.suites import read_suites
from ml.data.normalise import hash_texts, normalise_all, number_texts
from ml.data.quality import keep_quality
from ml.data.questions_page import CHANGE_DOCS, SPLITS_DOCS, WHOLE_DOCS, Questions, write_exploration
from ml.data.rows import read_batches, store_parts
from ml.data.validate import require
from ml.errors import DataError, LineageError
from ml.records import RawSnapshot, SplitName, Splits, ValidationReport, digest
from ml.run import Run

logger = logging.getLogger(__name__)

LABELS = ("sincere", "insincere")
_PARTS: tuple[SplitName, SplitName, SplitName] = ("train", "validation", "test")


@dataclass(frozen=True)
class _Rows:
    """Of each row of the file the label, the salted hash of its normalised text, and its length; all [rows]."""

    targets: npt.NDArray[np.int8]
    hashes: npt.NDArray[np.uint64]
    words: npt.NDArray[np.int32]
    characters: npt.NDArray[np.int32]

    def questions(self, name: str, rows: npt.NDArray[np.intp] | slice = slice(None)) -> Questions:
        """Some rows for the page."""
        lengths = {"words": self.words[rows], "characters": self.characters[rows]}
        return Questions.of(name, pa.chunked_array([self.targets[rows]]), lengths)


def split(config: Config, run: Run, snapshot: RawSnapshot, report: ValidationReport) -> Splits:
    """Divide the rows, check the parts, write the page, store them; raises LineageError without a passed report.

    Raises DataError if the champion knows so many test rows that too few remain, RegistryUnavailable if the registry
    does not tell which model is the champion.
    """
    _check_lineage(snapshot, report)
    path = run.store.open("snapshots", snapshot.sha256) / "rows.parquet"
    rows = _read_rows(path, config.split.salt)
    targets = rows.targets
    _check_classes(targets)
    text_ids, texts = number_texts(rows.hashes, _texts(path))
    parts = divide(config.split, rows.hashes, text_ids, targets)
    _check_sizes(parts)
    duplicates, conflicts = len(targets) - texts, count_conflicts(text_ids, targets)
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
        questions=[rows.questions("The whole file"), *(rows.questions(name, parts[name]) for name in _PARTS)],
        note=f"{note} {describe_since(report.since)}",
    )
    require(findings, suites.splits, f"{run.run_id}/{SPLITS_DOCS}/index.html")
    checks = [*report.checks, *(finding.check for finding in findings)]
    train, validation, test = store_parts(run.store, path, {name: parts[name] for name in _PARTS})
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


def _read_rows(path: Path, salt: str) -> _Rows:
    """Read the file once, some rows at a time; of the texts only their figures stay in memory."""
    nothing = np.empty(0, np.int32)
    parts = [_Rows(nothing.astype(np.int8), nothing.astype(np.uint64), nothing, nothing)]
    for batch in read_batches(path, ["question_text", "target"]):
        texts = pa.chunked_array([batch["question_text"]])
        part = _Rows(
            targets=batch["target"].to_numpy(zero_copy_only=False),
            hashes=hash_texts(normalise_all(batch["question_text"]), salt),
            words=text_measures.words(texts).to_numpy(),
            characters=text_measures.characters(texts).to_numpy(),
        )
        parts.append(part)
    return _Rows(
        targets=np.concatenate([part.targets for part in parts]),
        hashes=np.concatenate([part.hashes for part in parts]),
        words=np.concatenate([part.words for part in parts]),
        characters=np.concatenate([part.characters for part in parts]),
    )


def _texts(path: Path) -> Iterator[pa.Array]:
    return (batch["question_text"] for batch in read_batches(path, ["question_text"]))


def divide(
    config: SplitConfig, hashes: np.ndarray, text_ids: np.ndarray, targets: np.ndarray
) -> dict[SplitName, np.ndarray]:
    """Return the row numbers of each part, ascending; equal `text_ids` mean equal texts.

    `hashes` of the texts, `text_ids` and `targets` have the shape [rows].
    """
    if config.strategy == "hash":
        return _by_hash(config, hashes)
    return _without_shared_texts(_at_random(config, targets), text_ids)


def count_conflicts(text_ids: np.ndarray, targets: np.ndarray) -> int:
    """Count the texts that occur with both labels."""
    occurs = np.zeros((2, int(text_ids.max()) + 1), bool)
    for label in (0, 1):
        occurs[label, text_ids[targets == label]] = True
    return int(occurs.all(axis=0).sum())


def _by_hash(config: SplitConfig, hashes: np.ndarray) -> dict[SplitName, np.ndarray]:
    """Choose a row's part by its text's salted hash alone: no row moves when others are added or removed.

    The test part has the high end of the hashes, validation lies below it, train has the low end: as long as the test
    fraction is the same, no row that judged a model trains another, whatever the other fractions are.
    """
    position = hashes / 2.0**64
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


def _check_sizes(parts: Mapping[SplitName, np.ndarray]) -> None:
    for name, rows in parts.items():
        if not len(rows):
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
