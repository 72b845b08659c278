"""Sincere's library. It retrains, judges and promotes the classifier of insincere questions, and needs no Airflow."""

__version__ = "0.1.0"
