"""Works through chunks with a fixed number of coroutines: the memory is bounded by them, not by what there is to do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from airflow_provider_halo.records.payload import Payload

Chunks = AsyncIterator[Sequence[Payload]]


class Workers:
    """Workers that take chunks from a source, open each one, and do the single jobs that this gives.

    Jobs come before chunks: a lane opens another chunk only when no job waits. So at most one chunk per lane, and the
    jobs of as many, are held at any time.

    :param count: how many lanes.
    :param open_chunk: does what is to be done for a chunk as a whole and gives its single jobs.
    :param do: does one job.
    :param give_up: told of each job that no lane will do any more, since one has failed.
    """

    def __init__(
        self,
        count: int,
        *,
        open_chunk: Callable[[Sequence[Payload]], Awaitable[Iterable[Payload]]],
        do: Callable[[Payload], Awaitable[None]],
        give_up: Callable[[Payload], None],
    ) -> None:
        self._count = count
        self._open_chunk = open_chunk
        self._do = do
        self._give_up = give_up
        self._jobs: deque[Payload] = deque()
        self._opening = 0  # lanes at a chunk, which may still give jobs
        self._reading = False
        self._exhausted = False
        self._changed = asyncio.Event()

    async def run(self, chunks: Chunks) -> None:
        """Work until the source and the jobs have come to their end.

        The first error ends it: the other lanes are cancelled and waited for, then the error is raised.
        """
        lanes = [asyncio.create_task(self._lane(chunks)) for _ in range(self._count)]
        try:
            await asyncio.wait(lanes, return_when=asyncio.FIRST_EXCEPTION)
            # What failed first is what the others were cancelled for: look for it before they are.
            failed = next((lane for lane in lanes if lane.done() and not lane.cancelled() and lane.exception()), None)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            while self._jobs:
                self._give_up(self._jobs.popleft())
        if failed is not None:
            await failed

    async def _lane(self, chunks: Chunks) -> None:
        while True:
            if self._jobs:
                await self._do(self._jobs.popleft())
            elif not self._exhausted and not self._reading:
                await self._open_next(chunks)
            elif self._reading or self._opening:
                await self._changed.wait()
            else:
                return

    async def _open_next(self, chunks: Chunks) -> None:
        """Read and open one chunk. The other lanes don't queue up behind a slow source: they do the jobs that come."""
        self._reading = True
        try:
            chunk = await anext(chunks, None)
            self._exhausted = chunk is None
        finally:
            self._reading = False
            self._tell()
        if chunk is None:
            return
        self._opening += 1
        try:
            self._jobs.extend(await self._open_chunk(chunk))
        finally:
            self._opening -= 1
            self._tell()

    def _tell(self) -> None:
        """Let the lanes that wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()
