"""Step `snapshot`: pull the CSV and store it, byte for byte and parsed, under its sha256."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

from ml.config import Config, SourceConfig
from ml.config.source_address import public_address
from ml.errors import DataError
from ml.records import RawSnapshot, from_json, to_json
from ml.run import Run
from ml.source.csv_table import AUTO, Parsed, parse
from ml.source.fetch import fetch
from ml.store.files import file_digest

logger = logging.getLogger(__name__)


def snapshot(config: Config, run: Run) -> RawSnapshot:
    """Pull `config.source.uri` into `store/snapshots/<sha256>`; bytes that are stored already change nothing."""
    source = public_address(config.source.uri)
    with run.store.staging() as folder:
        csv = fetch(config.source, folder)
        sha256 = _identity(csv, config.source)
        if not run.store.contains("snapshots", sha256):
            parsed = parse(csv, config.source, source=source, to=folder / "rows.parquet")
            _write_snapshot(folder, parsed, config.source, sha256)
            run.store.commit(folder, "snapshots", sha256)
    stored = run.store.open("snapshots", sha256) / "snapshot.json"
    record = replace(from_json(stored.read_text(encoding="utf-8"), RawSnapshot), source=source)
    _check_quarantine(record, config.source)
    return record


def _identity(csv: Path, config: SourceConfig) -> str:
    """Return the sha256 of the file, in hex; if the settings name an index column, it is of both."""
    sha256 = file_digest(csv)
    if config.index_column == AUTO:
        return sha256
    return hashlib.sha256(f"{sha256}\0{config.index_column}".encode()).hexdigest()


def _write_snapshot(folder: Path, parsed: Parsed, config: SourceConfig, sha256: str) -> None:
    record = RawSnapshot(
        source=public_address(config.uri),
        sha256=sha256,
        rows=parsed.rows,
        columns=parsed.columns,
        bytes=(folder / "rows.csv").stat().st_size,
        quarantined_rows=sum(row.rstrip("\n").count("\n") + 1 for row in parsed.quarantined),
    )
    _check_quarantine(record, config)
    if parsed.quarantined:
        (folder / "quarantine.csv").write_text("".join(f"{row}\n" for row in parsed.quarantined), encoding="utf-8")
    (folder / "snapshot.json").write_text(to_json(record), encoding="utf-8")


def _check_quarantine(record: RawSnapshot, config: SourceConfig) -> None:
    """Raise DataError if more lines than allowed are in quarantine, for too few or too many fields."""
    if not record.quarantined_rows:
        return
    total = record.rows + record.quarantined_rows
    if record.quarantined_rows / total > config.max_quarantined_fraction:
        raise DataError(
            f"{record.quarantined_rows} of {total} rows have the wrong number of fields",
            where=record.source,
            fix="quote texts that hold commas, close each quote, end no line with a comma, or raise "
            "source.max_quarantined_fraction",
        )
    logger.warning("%d rows with the wrong number of fields are in quarantine.csv", record.quarantined_rows)
