"""The Airflow side of the pipeline: operators, Params and report pages, without business rules."""
