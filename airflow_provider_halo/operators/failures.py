"""Failures as Airflow understands them, and still of their own types, for callbacks and for ``except`` around `execute`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowTaskTimeout

from airflow_provider_halo.exceptions import (
    AuthError,
    ConnectionMissing,
    ContextRefused,
    HaloError,
    LedgerError,
    PayloadTooLarge,
    PlanError,
    QueryRefused,
    RecordsNotStored,
    RequestRefused,
    SetupError,
    SourceError,
    SystemicRefusal,
    UnexpectedAnswer,
    UnlikelyChange,
)
from airflow_provider_halo.sync.stopped import SyncStopped

if TYPE_CHECKING:
    from airflow_provider_halo.delivery.report import Report

__all__ = ["airflow_failures", "not_stored"]

_INCURABLE = (
    AuthError,
    ContextRefused,
    PayloadTooLarge,
    PlanError,
    QueryRefused,
    RequestRefused,
    SetupError,
    SystemicRefusal,
    UnexpectedAnswer,
    UnlikelyChange,
)
# A database that is down may come back. So may Airflow's API server, without which every connection is missing.
_PASSING = (ConnectionMissing, SourceError, LedgerError)


@contextmanager
def airflow_failures() -> Iterator[None]:
    """Raise a `HaloError` as one that also tells Airflow whether to try the task again.

    It is caught by its own type (``except WidgetKeyRefused``) as well as by Airflow's (``except AirflowFailException``).
    The causes are cut off: a database driver's error holds the SQL and its values, which don't belong into a task's log.
    """
    try:
        yield
    except SyncStopped as stopped:
        raise _failure(stopped.cause) from None
    except asyncio.CancelledError:
        raise AirflowException("The task was told to stop, and did, before it was done.") from None
    except AirflowTaskTimeout as timeout:
        raise AirflowTaskTimeout(f"{timeout}: not done within the task's execution_timeout, and stopped") from None
    except AirflowException:
        raise  # ready for Airflow, though it may be a `HaloError`, too
    except HaloError as error:
        raise _failure(error) from None


def not_stored(reason: str, report: Report, *, final: bool | None = None) -> AirflowException:
    """The failure of a task that went to its end, and did not store what it should: a `RecordsNotStored`.

    :param final: whether another try can't help. None: what could not be delivered is worth one, what was rejected would be
        rejected again.
    """
    if final is None:
        final = not report.total("failed")
    return _as_both(RecordsNotStored(reason, report.to_dict()), AirflowFailException if final else AirflowException)


def _failure(error: HaloError) -> AirflowException:
    passes = isinstance(error, _PASSING) and not isinstance(error, QueryRefused)
    return _as_both(error, AirflowFailException if isinstance(error, _INCURABLE) and not passes else AirflowException)


def _as_both(error: HaloError, airflow_type: type[AirflowException]) -> AirflowException:
    """The error once more, with all its attributes, as an exception of Airflow's type, too."""
    kind = _both(type(error), airflow_type)  # type: ignore[arg-type]  # mypy takes a class for no Hashable
    made = kind.__new__(kind)
    made.args = error.args
    vars(made).update(vars(error))
    return made


@cache
def _both(own: type[HaloError], airflow_type: type[AirflowException]) -> type[AirflowException]:
    """A type that is caught as either of two; it goes by the package's own name in logs."""
    names: dict[str, Any] = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__}
    return cast("type[AirflowException]", type(own.__name__, (own, airflow_type), names))
