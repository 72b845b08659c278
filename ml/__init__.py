"""Sincere's library: retrains, judges and promotes the classifier of insincere questions. Knows nothing of Airflow."""

__version__ = "0.1.0"
