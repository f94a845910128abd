"""The demo: a real Airflow that brings the sample product to the sandbox. Run from the checkout, not installed."""
