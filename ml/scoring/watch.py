"""Watch over scoring without labels: are questions and scores still like those that the champion was trained on?"""

import pandas as pd

from ml.data.expectations.findings import Finding
from ml.data.expectations.run import run_suite
from ml.data.expectations.suites import Suite
from ml.model.profile import distribution_shift, share_rise, share_shift
from ml.records import Profile
from ml.run import Run

SCORES_DOCS = "data_docs_scores"


def watch(run: Run, suite: Suite, now: Profile, then: Profile) -> tuple[Finding, ...]:
    """Run the suite on the figures of what was scored, and write its Data Docs into the run's reports."""
    return run_suite(suite, measure_drift(now, then), run.report_folder / SCORES_DOCS)


def measure_drift(now: Profile, then: Profile) -> pd.DataFrame:
    """Return one row of figures: `rows`, and how far the others are from training's beyond what chance explains.

    A shift of a share is in shares of the rows, that of a distribution is a population stability index.
    """
    figures = {
        "rows": now.rows,
        "flagged_shift": share_shift(now.flagged, now.rows, then.flagged, then.rows),
        "score_shift": distribution_shift(now.scores, then.scores),
        "length_shift": distribution_shift(now.lengths, then.lengths),
        "empty_rise": share_rise(now.empty, now.rows, then.empty, then.rows),
        "damaged_rise": share_rise(now.damaged, now.rows, then.damaged, then.rows),
    }
    return pd.DataFrame([figures])
