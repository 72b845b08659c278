"""Print the registry's history, an entry a line: `python -m retraining.pages.champion.ask`, for a page."""

import json
import os
import sys

from ml.errors import SincereError
from ml.records import to_json
from retraining.pages.champion.place import place_in, read_history


def main() -> int:
    """Return the exit status; an error is printed as what and what to do."""
    try:
        lines = [to_json(entry) for entry in read_history(place_in(os.environ))]
    except SincereError as error:
        print(json.dumps([error.what, error.fix]), flush=True)
        return 1
    print("\n".join(lines), flush=True)
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # W&B's service would keep the process waiting
