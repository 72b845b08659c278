"""Print the registry's history, an entry a line: `python -m retraining.pages.champion.ask`, for a page.

What the page reads beside it, the grounds of the newest decisions, is then in the home's store.
"""

import json
import os
import sys
from contextlib import suppress

from ml.errors import SincereError
from ml.records import to_json
from ml.store import Store
from retraining.pages.champion.decisions import grounds
from retraining.pages.champion.place import History, place_in, read_history, store_of

_NEWEST = 30


def main() -> int:
    """Return the exit status; an error is printed as what and what to do."""
    try:
        place = place_in(os.environ)
        history = read_history(place)
        lines = [to_json(entry) for entry in history]
    except SincereError as error:
        print(json.dumps([error.what, error.fix]), flush=True)
        return 1
    print("\n".join(lines), flush=True)
    if place.store:
        _have_grounds(history[-_NEWEST:], store_of(place))
    return 0


def _have_grounds(history: History, store: Store) -> None:
    for entry in history:
        with suppress(SincereError):
            for decision in grounds(entry, store):
                store.open("comparisons", decision.comparison)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # W&B's service would keep the process waiting
