"""The `halo` command, alone and as `airflow halo`."""
