"""Takes from a broker and settles, and dies of every message named ``poison``.

``poisoned_worker.py URL FOLDER`` notes in a file; ``poisoned_worker.py URL LEDGER NAME`` in a ledger that is shared.
"""

import os
import signal
import sys
from pathlib import Path

import anyio

from worker.brokers.deaths import Deaths, deaths_beside
from worker.ledger import open_state
from worker.settings import InputSettings, StateSettings
from worker.sources import from_url

LEASE_S = 1.0
IDLE_S = 2.5


async def work(url: str, deaths: Deaths) -> None:
    settings = InputSettings(lease_s=LEASE_S)
    source = from_url(url, settings, worker_id="w", deaths=deaths, create=True)
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


async def share(url: str, ledger_url: str, name: str) -> None:
    """Work as one of a fleet."""
    state = StateSettings(url=ledger_url, worker_name=name)
    async with open_state(state, environment="simulator", create=True) as ledger:
        await work(url, deaths_beside(ledger_url, ledger, "simulator"))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        anyio.run(share, sys.argv[1], sys.argv[2], sys.argv[3])
    else:
        anyio.run(work, sys.argv[1], Deaths(Path(sys.argv[2]) / "attempts"))
