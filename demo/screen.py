"""What the demo says to the person who watches it: headings, progress, tables; colours where there is a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TextIO

__all__ = ["Screen"]

_BOLD, _GREEN, _RED, _DIM, _PLAIN = "\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m"


class Screen:
    """Writes lines to a stream, each as soon as it is known.

    :param stream: where to; coloured when it is a terminal and NO_COLOR isn't set.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colours = stream.isatty() and not os.environ.get("NO_COLOR")
        self._started = time.monotonic()

    def heading(self, text: str) -> None:
        """A new part of the demo, with the time since the start."""
        self._write(f"\n{self._paint(_BOLD, text)}{self._paint(_DIM, f'  [{self.seconds:.0f} s]')}")

    def say(self, text: str) -> None:
        """One line."""
        self._write(f"  {text}")

    def aside(self, text: str) -> None:
        """One line that may be skipped by the eye: progress."""
        self._write(self._paint(_DIM, f"  {text}"))

    def good(self, text: str) -> None:
        """Something was checked and is right."""
        self._write(f"  {self._paint(_GREEN, '✓')} {text}")

    def trouble(self, text: str) -> None:
        """Something is off."""
        self._write(f"  {self._paint(_RED, '✗')} {text}")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """A table; the first row is its heading, the first column is aligned left, the others right."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = [
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            line = "  ".join(cells).rstrip()
            self._write(f"  {self._paint(_BOLD, line) if number == 0 else line}")

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._started

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours else text

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
