"""The entry point of `python -m ml` and of the installed command `sincere`."""

import gc
import sys

from ml import cli

_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> int:
    """Run one command and return its exit status; W&B's service is killed if it still runs ten seconds later."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)  # of 700 more objects is a seventh of the time of an import
    try:
        return cli.main()
    finally:
        if "wandb" in sys.modules:
            from ml.registry.wandb.end_service import end_soon

            end_soon()


if __name__ == "__main__":
    sys.exit(main())
