"""Our errors as Airflow's: what a retry can't cure fails at once, the rest is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from airflow_provider_halo.exceptions import (
    AuthError,
    ConnectionMissing,
    ContextRefused,
    HaloError,
    LedgerError,
    PayloadTooLarge,
    PlanError,
    QueryRefused,
    RequestRefused,
    SetupError,
    SourceError,
    SystemicRefusal,
    UnexpectedAnswer,
    UnlikelyChange,
)

_INCURABLE = (
    AuthError,
    ContextRefused,
    PayloadTooLarge,
    PlanError,
    RequestRefused,
    SetupError,
    SystemicRefusal,
    UnexpectedAnswer,
    UnlikelyChange,
)


@contextmanager
def airflow_failures() -> Iterator[None]:
    """Turn a `HaloError` into the exception that tells Airflow whether to try the task again.

    The causes are cut off: a database driver's error holds the SQL and its values, which don't belong into a task's log.
    """
    try:
        yield
    except asyncio.CancelledError:
        raise AirflowException("The task was told to stop, and did, before it was done.") from None
    except QueryRefused as error:
        raise AirflowFailException(str(error)) from None
    except (ConnectionMissing, SourceError, LedgerError) as error:
        # A database that is down may come back. So may Airflow's API server, without which every connection is missing.
        raise AirflowException(str(error)) from None
    except _INCURABLE as error:
        raise AirflowFailException(str(error)) from None
    except HaloError as error:
        raise AirflowException(str(error)) from None
