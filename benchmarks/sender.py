"""One sender of the quota benchmark: companies as fast as Halo takes them, for some seconds; prints what it did as JSON.

python -m benchmarks.sender URL SECONDS NUMBER
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

from airflow_provider_halo.api.client import HaloClient
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.settings import HaloSettings

LANES = 8


async def send(url: str, seconds: float, number: str) -> dict[str, float]:
    """Send until the time is up."""
    settings = HaloSettings(conn_id="bench", widget_key="ab_live_sandbox", base_url=url, max_in_flight=LANES)
    passed: set[str] = set()
    began = time.monotonic()
    async with HaloClient(settings) as client:

        async def lane(name: int) -> None:
            count = 0
            while time.monotonic() < began + seconds:
                count += 1
                key = f"{number}-{name}-{count}"
                await client.identify_company(Payload("companies", key, b"", b""))
                passed.add(key)

        await asyncio.gather(*(lane(name) for name in range(LANES)))
        stats = client.stats
    return {
        "passed": len(passed),
        "companies": len(passed),
        "requests": stats.requests,
        "throttled": stats.throttled,
        "seconds": time.monotonic() - began,
    }


def main() -> None:
    """Read the words, and print what was done."""
    logging.disable(logging.CRITICAL)
    url, seconds, number = sys.argv[1:]
    print(json.dumps(asyncio.run(send(url, float(seconds), number))))


if __name__ == "__main__":
    main()
