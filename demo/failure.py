"""What ends a demo before its time: a sentence, and the log that tells more."""

from __future__ import annotations

import json
from pathlib import Path

from airflow_provider_halo.exceptions import HaloError

__all__ = ["DemoFailure"]

_LINES = 25


class DemoFailure(HaloError):
    """The demo can't go on.

    :param message: what, in one sentence.
    :param log: the file that tells more; None when there is none.
    """

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log

    def tail(self) -> list[str]:
        """The last lines of the log, for people."""
        if self.log is None or not self.log.is_file():
            return []
        return [
            _readable(line) for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
        ]


def _readable(line: str) -> str:
    """Task logs are JSON, one object a line; the others are text already."""
    try:
        entry = json.loads(line)
        event, details = f"{entry.get('level', '')} {entry['event']}", entry.get("error_detail") or []
        return " ".join([event.strip(), *(f"{detail['exc_type']}: {detail['exc_value']}" for detail in details)])
    except (ValueError, TypeError, KeyError, AttributeError):
        return line
