"""How a run ended, to be seen in Airflow's grid and in the note of the run."""
