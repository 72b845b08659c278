"""Have reports in this home: `python -m ml.store.shared.fetch_reports [RUN]`, for a page and for tasks of Airflow.

With a run all that is there of it, without one what the steps of all runs kept.
"""

import json
import os
import sys
from pathlib import Path

from ml.config.environment import home_of
from ml.errors import SincereError
from ml.store.mirror import open_mirror


def main(run_ids: list[str]) -> int:
    """Return the exit status; an error is printed as what and what to do."""
    try:
        mirror = open_mirror(os.environ, home_of(os.environ, Path.cwd()))
        for run_id in run_ids:
            mirror.fetch(run_id)
        if not run_ids:
            mirror.fetch_all(records_alone=True)
    except SincereError as error:
        print(json.dumps([error.what, error.fix]), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
