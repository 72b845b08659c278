"""What the expectations found, kept beside a run's reports for the page that shows run after run."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ml.data.expectations.findings import Finding
from ml.records import DataQuality, ObservedCheck, to_json
from ml.run import Run
from ml.store.files import write_whole


def keep_quality(run: Run, step: str, findings: Mapping[str, Sequence[Finding]], *, snapshot: str, rows: int) -> None:
    """Write `data_quality/STEP.json`; `findings` are by the folder of their Data Docs."""
    quality = DataQuality(
        run_id=run.run_id,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        snapshot=snapshot,
        rows=rows,
        checks=tuple(
            ObservedCheck(docs=docs, check=each.check, required=each.required, note=each.note, value=each.value)
            for docs, some in findings.items()
            for each in some
        ),
    )
    write_whole(run.report_folder / "data_quality" / f"{step}.json", to_json(quality))
