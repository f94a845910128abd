"""`python -m airflow_provider_halo` is the `halo` command."""

import sys

from airflow_provider_halo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
