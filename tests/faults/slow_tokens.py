"""The simulator with a token endpoint that takes its time, as a program; the seconds are its argument."""

import sys
from functools import partial

import anyio

from worker.simulator.app import serve
from worker.simulator.config import SimulatorConfig


def announce(origin: str) -> None:
    sys.stdout.write(f"simulator: {origin}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(partial(serve, SimulatorConfig(token_delay_s=float(sys.argv[1])), ready=announce))
