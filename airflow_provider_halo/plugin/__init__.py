"""What the provider adds to Airflow's own processes: the pool of the shipped DAGs, and the commands."""
