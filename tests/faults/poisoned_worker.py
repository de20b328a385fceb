"""Takes from a broker and settles, and dies of every message named ``poison``: ``poisoned_worker.py URL FOLDER``."""

import os
import signal
import sys
from pathlib import Path

import anyio

from worker.settings import InputSettings
from worker.sources import from_url

LEASE_S = 1.0
IDLE_S = 2.5


async def work(url: str, folder: Path) -> None:
    settings = InputSettings(lease_s=LEASE_S)
    source = from_url(url, settings, worker_id="w", attempts_file=folder / "attempts", create=True)
    await source.open()
    try:
        with anyio.CancelScope() as idle:
            while True:
                idle.deadline = anyio.current_time() + IDLE_S
                deliveries = await source.take(10)
                if any(delivery.name == "poison" for delivery in deliveries):
                    os.kill(os.getpid(), signal.SIGKILL)
                await source.settle(deliveries)
    finally:
        with anyio.CancelScope(shield=True):
            await source.close()


if __name__ == "__main__":
    anyio.run(work, sys.argv[1], Path(sys.argv[2]))
