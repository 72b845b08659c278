"""What must be in the environment before any test imports TensorFlow, Great Expectations or Airflow."""

import os
import tempfile

_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-home-")

os.environ.update(
    TF_USE_LEGACY_KERAS="1",
    TF_CPP_MIN_LOG_LEVEL="2",
    GX_ANALYTICS_ENABLED="false",
    AIRFLOW_HOME=_AIRFLOW_HOME.name,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
)
