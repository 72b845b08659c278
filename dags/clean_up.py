"""Airflow removes once a week what no champion, decision or run needs any more.

The task: plugins/retraining/dags/clean_up.py.
"""

from retraining.dags import cleaning_dag
from retraining.model import QUORA

clean_up = cleaning_dag("clean_up", QUORA)
