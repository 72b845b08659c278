"""Airflow retrains the classifier of insincere questions every week, and promotes the result if it is better.

The tasks and their order: plugins/retraining/dags/retrain.py.
"""

from retraining.dags import retraining_dag
from retraining.model import QUORA

retrain_quora = retraining_dag("retrain_quora", QUORA)
