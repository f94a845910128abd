"""Works through chunks with a fixed number of coroutines: the memory is bounded by them, not by what there is to do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

from airflow_provider_halo.delivery.change import Change

__all__ = ["ChunkStream", "Workers"]

ChunkStream = AsyncIterator[Sequence[Change]]


class Workers:
    """Workers that take chunks from a source, open each one, and do the single jobs that this gives.

    Jobs come before chunks: a worker opens another chunk only when no job waits. So at most one chunk per worker, and
    the jobs of as many, are held at any time.

    :param count: how many workers.
    :param open_chunk: does what is to be done for a chunk as a whole and gives its single jobs.
    :param do: does one job.
    :param give_up: told of each job that no worker will do any more, since one has failed.
    """

    def __init__(
        self,
        count: int,
        *,
        open_chunk: Callable[[Sequence[Change]], Awaitable[Iterable[Change]]],
        do: Callable[[Change], Awaitable[None]],
        give_up: Callable[[Change], None],
    ) -> None:
        self._count = count
        self._open_chunk = open_chunk
        self._do = do
        self._give_up = give_up
        self._jobs: deque[Change] = deque()
        self._opening = 0  # workers at a chunk, which may still give jobs
        self._reading = False
        self._exhausted = False
        self._changed = asyncio.Event()

    async def run(self, chunks: ChunkStream) -> None:
        """Work until the source and the jobs have come to their end.

        The first error ends it: the other workers are cancelled and waited for, then the error is raised.
        """
        workers = [asyncio.create_task(self._work(chunks)) for _ in range(self._count)]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            # What failed first is what the others were cancelled for: look for it before they are.
            failed = next(
                (worker for worker in workers if worker.done() and not worker.cancelled() and worker.exception()), None
            )
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            while self._jobs:
                self._give_up(self._jobs.popleft())
        if failed is not None:
            await failed

    async def _work(self, chunks: ChunkStream) -> None:
        while True:
            if self._jobs:
                await self._do(self._jobs.popleft())
            elif not self._exhausted and not self._reading:
                await self._open_next(chunks)
            elif self._reading or self._opening:
                await self._changed.wait()
            else:
                return

    async def _open_next(self, chunks: ChunkStream) -> None:
        """Read and open one chunk. The other workers don't queue up behind a slow source: they do the jobs that come."""
        self._reading = True
        try:
            chunk = await anext(chunks, None)
            self._exhausted = chunk is None
        finally:
            self._reading = False
            self._wake()
        if chunk is None:
            return
        self._opening += 1
        try:
            self._jobs.extend(await self._open_chunk(chunk))
        finally:
            self._opening -= 1
            self._wake()

    def _wake(self) -> None:
        """Let the workers that wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()
