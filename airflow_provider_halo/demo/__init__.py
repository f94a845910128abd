"""The demo: data of a forms-and-scheduling product, its plan, and a real Airflow that brings it to the sandbox."""
