"""The Airflow side of the pipeline: the operator, its settings and nothing that decides anything."""
