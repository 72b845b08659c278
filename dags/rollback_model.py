"""Airflow points the champion's alias back at an earlier version when a person asks for it.

The task: plugins/retraining/dags/rollback.py.
"""

from retraining.dags import rollback_dag
from retraining.model import QUORA

rollback_model = rollback_dag("rollback_model", QUORA)
