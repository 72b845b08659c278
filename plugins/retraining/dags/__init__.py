"""The DAGs of a model, each made by one function: a file in the DAG folder calls it."""

from retraining.dags.clean_up import cleaning_dag
from retraining.dags.retrain import retraining_dag
from retraining.dags.rollback import rollback_dag
from retraining.dags.score import scoring_dag
from retraining.model import Model

__all__ = ["Model", "cleaning_dag", "retraining_dag", "rollback_dag", "scoring_dag"]
