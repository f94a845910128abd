"""Payloads in chunks for the sender, read by a thread that is one chunk ahead: that bounds the memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import Problem


async def chunks_of(
    made: Iterator[Payload | Problem], size: int, reject: Callable[[Problem], None]
) -> AsyncGenerator[list[Payload], None]:
    """Read ahead of whoever takes the chunks.

    :param made: read in a thread of its own, so that a slow database doesn't hold the sender; closed at the end, also an
        early one, where it is a generator.
    :param size: payloads and problems of a chunk, at most.
    :param reject: takes each problem, in the event loop's thread.
    """
    reader = _Reader(made, size)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="halo-read") as executor:
        try:
            ahead = loop.run_in_executor(executor, reader.next_chunk)
            while True:
                payloads, problems, more = await ahead
                if more:
                    ahead = loop.run_in_executor(executor, reader.next_chunk)
                for problem in problems:
                    reject(problem)
                if payloads:
                    yield payloads
                if not more:
                    return
        finally:
            # In the reader's own thread, after the chunk it may be at: a generator can't be closed while it runs.
            await loop.run_in_executor(executor, reader.close)


class _Reader:
    """Sorts what is read into payloads and problems. Used by one thread at a time."""

    def __init__(self, made: Iterator[Payload | Problem], size: int) -> None:
        self._made = made
        self._size = size

    def next_chunk(self) -> tuple[list[Payload], list[Problem], bool]:
        """The next payloads and problems, and whether more may follow."""
        payloads: list[Payload] = []
        problems: list[Problem] = []
        while len(payloads) < self._size and len(problems) < self._size:
            record = next(self._made, None)
            if record is None:
                return payloads, problems, False
            if isinstance(record, Payload):
                payloads.append(record)
            else:
                problems.append(record)
        return payloads, problems, True

    def close(self) -> None:
        """End what is behind the records, such as queries."""
        close = getattr(self._made, "close", None)
        if close is not None:
            close()
