"""`python -m ml`."""

import sys

from ml.cli import main

try:
    status = main()
finally:
    if "wandb" in sys.modules:
        from ml.registry.wandb.end_service import end_soon

        end_soon()
sys.exit(status)
