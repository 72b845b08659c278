"""The Airflow side of the pipeline: operators, Params and report pages, without business rules."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
