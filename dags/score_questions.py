"""Airflow scores questions with the champion, and watches whether they are still like those of its training.

The task: plugins/retraining/dags/score.py.
"""

from retraining.dags import scoring_dag
from retraining.model import QUORA

score_questions = scoring_dag("score_questions", QUORA)
