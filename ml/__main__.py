"""`python -m ml`, and the command `sincere` of an installation."""

import sys

from ml import cli


def main() -> int:
    """Run one command and return its exit status; what is left of W&B's service then has ten seconds to end."""
    try:
        return cli.main()
    finally:
        if "wandb" in sys.modules:
            from ml.registry.wandb.end_service import end_soon

            end_soon()


if __name__ == "__main__":
    sys.exit(main())
