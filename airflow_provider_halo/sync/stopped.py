"""What ends a sync early, together with what it had done by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_halo.exceptions import HaloError

if TYPE_CHECKING:  # whoever catches it, as the operators do, needn't import the delivery for that
    from airflow_provider_halo.delivery.report import Report

__all__ = ["SyncStopped"]


class SyncStopped(HaloError):
    """A sync that had begun can't go on. Its text is that of its cause.

    It carries a report across the layers of this package, and isn't for users to catch: operators and commands take the
    report, and go on with the cause, whose class says whether another try may help.

    :param report: what was delivered until then; its ``stopped`` is set.
    :param cause: the error that ended it.
    """

    def __init__(self, report: Report, cause: HaloError) -> None:
        super().__init__(str(cause))
        self.report = report
        self.cause = cause
