"""Changes in chunks for the sender, read by a thread that is a few chunks ahead: that bounds the memory."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, final

from airflow_provider_halo.delivery.change import Change
from airflow_provider_halo.delivery.outcome import Outcome

__all__ = ["Chunks"]

_CHUNK_BYTES: Final = 900_000  # with the keys of 1,000 users still below the 1 MB that a proxy takes without being told
# Enough that a source which is slower than Halo for a while doesn't leave it waiting, and that many users are there when
# the last company is sent; each more takes as much memory as a request.
_CHUNKS_AHEAD: Final = 3


@final
class Chunks(AsyncIterator[list[Change]]):
    """Reads ahead of whoever takes the chunks, and is closed by `aclose`.

    A chunk ends early where its payloads come to `_CHUNK_BYTES`: many servers and proxies refuse a larger body, and as many
    chunks as there are requests under way are in the memory at once.

    :param changes: what is to be sent, and the outcomes of records that aren't. Read in a thread of its own, so that a
        slow database doesn't hold the sender; closed at the end, also an early one, where it is a generator.
    :param size: changes of a chunk, at most. Users of whom only the link is due are counted apart, so that the others
        fill a request.
    :param emit: takes each outcome at once, in the event loop's thread; before the chunk of what was read after it.
    """

    def __init__(self, changes: Iterator[Change | Outcome], size: int, emit: Callable[[Outcome], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = _Reader(changes, size, lambda outcome: self._loop.call_soon_threadsafe(emit, outcome))
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="halo-read")
        self._ahead: deque[asyncio.Future[tuple[list[Change], bool]]] = deque()
        self._has_more = True
        self._on_read: Callable[[], None] | None = None

    def start(self) -> None:
        """Begin to read, before anybody asks for a chunk."""
        while self._has_more and len(self._ahead) < _CHUNKS_AHEAD:
            chunk = self._loop.run_in_executor(self._executor, self._reader.next_chunk)
            chunk.add_done_callback(self._note_end)
            self._ahead.append(chunk)

    def when_read(self, callback: Callable[[], None]) -> None:
        """Call back, once, when all is read: some chunks may still have to be taken."""
        self._on_read = callback

    def _note_end(self, chunk: asyncio.Future[tuple[list[Change], bool]]) -> None:
        if chunk.cancelled() or chunk.exception() is not None or chunk.result()[1]:
            return
        callback, self._on_read = self._on_read, None
        if callback is not None:
            callback()

    async def __anext__(self) -> list[Change]:
        while self._has_more:
            self.start()
            changes, self._has_more = await self._ahead.popleft()
            self.start()
            if changes:
                return changes
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the reading, and what is behind it."""
        self._has_more = False
        self._reader.stop.set()
        with self._executor:
            for chunk in self._ahead:
                chunk.cancel()
            # In the reader's own thread, after the chunk it may be at: a generator can't be closed while it runs.
            await self._loop.run_in_executor(self._executor, self._reader.close)


class _Reader:
    """Gathers what is read into chunks. Used by one thread at a time, but for ``stop``, which ends a chunk early."""

    def __init__(self, changes: Iterator[Change | Outcome], size: int, emit: Callable[[Outcome], object]) -> None:
        self._changes = changes
        self._size = size
        self._emit = emit
        self.stop = threading.Event()

    def next_chunk(self) -> tuple[list[Change], bool]:
        """The next changes, and whether more may follow."""
        chunk: list[Change] = []
        records = links = weight = 0
        size = self._size
        is_stopped = self.stop.is_set
        for change in self._changes:
            if is_stopped():
                return chunk, False
            if isinstance(change, Outcome):
                self._emit(change)
                continue
            chunk.append(change)
            if change.sends_record:
                records += 1
            else:
                links += 1
            payload = change.payload
            weight += len(payload.traits) + len(payload.context)
            if records >= size or links >= size or weight >= _CHUNK_BYTES:
                return chunk, True
        return chunk, False

    def close(self) -> None:
        """End what is behind the records, such as queries."""
        close = getattr(self._changes, "close", None)
        if close is not None:
            close()
