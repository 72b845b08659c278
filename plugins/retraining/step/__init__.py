"""How a task runs a step: its process, its environment, and what its end means to Airflow."""
