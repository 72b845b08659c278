"""Pages in Airflow's UI: what a person asks about models, data and runs, answered by the server as plain HTML."""

PREFIX = "/retraining"
