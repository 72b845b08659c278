"""Where scored rows go: a path of this machine, or a bucket. They get there whole, or not at all."""

import logging
import shutil
import time
from pathlib import Path

from ml.config import Config, SourceConfig
from ml.config.redaction import AUTO
from ml.config.source_address import local_path, public_address, scheme_of
from ml.errors import ConfigError, OutputUnavailable
from ml.run import Run
from ml.scoring.tables import Format
from ml.source.download import FIRST_PAUSE_SECONDS, BrokenOff, NotInTime, within
from ml.source.object_stores import put_in_bucket
from ml.store.files import writing_whole

_WHERE = "score.output"
_PACKED = {".gz", ".bz2", ".xz", ".zip", ".zst"}
_OTHERS = {"CSV": {".parquet", ".pq", *_PACKED}, "Parquet": {".csv", ".tsv", ".txt", *_PACKED}}

logger = logging.getLogger(__name__)


def destination(config: Config, run: Run, form: Format) -> str:
    """Return the address that the settings name, or that of a file of the run in the home; raises ConfigError."""
    output = config.score.output
    if output == AUTO:
        return str(run.reports.parent / "scored" / f"{run.run_id}.{form.lower()}")
    _refuse_name(output, form)
    return output


def check_destination(config: Config) -> None:
    """Raise ConfigError, before any work, if no file can be written there."""
    output = config.score.output
    if output == AUTO:
        return
    try:
        scheme = scheme_of(output)
        path = local_path(output) if scheme == "file" else Path()
    except ConfigError as error:
        raise ConfigError(error.what, where=_WHERE, fix="use a path, s3:// or gs://") from None
    if scheme not in ("file", "s3", "gs"):
        raise ConfigError(f"nothing can be written to {scheme}:", where=_WHERE, fix="use a path, s3:// or gs://")
    if output.endswith("/") or (path.is_dir() if scheme == "file" else "/" not in output.partition("://")[2]):
        raise ConfigError("this is a folder or a bucket", where=_WHERE, fix="name a file")
    if public_address(output) == public_address(config.source.uri) and _is_same(output, config.source.uri):
        raise ConfigError("the scored rows would replace the questions", where=_WHERE, fix="name another file")


def put(scored: Path, output: str, config: SourceConfig) -> None:
    """Copy a file to its destination; raises OutputUnavailable if a bucket did not take it in time."""
    if scheme_of(output) == "file":
        with scored.open("rb") as rows, writing_whole(local_path(output)) as to:
            shutil.copyfileobj(rows, to.buffer)
        return
    place = public_address(output)
    try:
        within(config.deadline_seconds, lambda: _put_in_bucket(scored, output, config, place))
    except NotInTime:
        raise OutputUnavailable(
            f"the bucket did not take the scored rows in {config.deadline_seconds:g} seconds",
            where=place,
            fix="raise source.deadline_seconds, or try again later",
        ) from None


def drop_old_files(folder: Path, keep: int) -> None:
    """Remove all files of a folder but so many of the newest."""
    files = [path for path in folder.iterdir() if path.is_file() and path.suffix != ".part"]  # one that is written now
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)[:-keep]:
        path.unlink(missing_ok=True)  # another process may have been quicker


def _put_in_bucket(scored: Path, output: str, config: SourceConfig, place: str) -> None:
    for attempt in range(1, config.attempts + 1):
        try:
            put_in_bucket(scored, output, config, place=place)
            return
        except BrokenOff as error:
            reason = str(error)
            logger.warning("attempt %d of %d at %s: %s", attempt, config.attempts, place, reason)
        if attempt < config.attempts:
            time.sleep(min(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1), config.timeout_seconds))
    raise OutputUnavailable(
        f"the bucket did not take the scored rows in {config.attempts} attempts; at last: {reason}",
        where=place,
        fix="try again later",
    )


def _is_same(output: str, questions: str) -> bool:
    if scheme_of(output) != "file":
        return True
    return local_path(output).resolve() == local_path(questions).resolve()


def _refuse_name(output: str, form: Format) -> None:
    end = Path(output.partition("?")[0]).suffix.lower()
    if end in _OTHERS[form]:
        raise ConfigError(
            f"the questions are {form}, so the scored rows are too, and the name ends in {end}",
            where=_WHERE,
            fix=f"let it end in .{form.lower()}",
        )
