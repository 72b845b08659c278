"""The entry point of `python -m ml` and of the installed command `sincere`."""

import sys

from ml import cli


def main() -> int:
    """Run one command and return its exit status; W&B's service is killed if it still runs ten seconds later."""
    try:
        return cli.main()
    finally:
        if "wandb" in sys.modules:
            from ml.registry.wandb.end_service import end_soon

            end_soon()


if __name__ == "__main__":
    sys.exit(main())
