"""How many inputs hypothesis tries, always the same ones: HYPOTHESIS_EXAMPLES of each kind, 150 by default."""

import os

from hypothesis import HealthCheck, settings

any_input = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "150")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
