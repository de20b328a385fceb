"""What a measurement tells, and how its jobs are run: each in a process of its own, the stub in another."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

Tell = Callable[[str], None]
Told = dict[str, Any]


class Figure(msgspec.Struct, frozen=True):
    """One line of the table. `ratio` is what counts; `target` what it should reach (None: no target).

    Where there is a bound instead of a baseline, the ratio is the bound by what was measured.
    """

    name: str
    ratio: float | None
    target: float | None
    measured: str
    baseline: str
    numbers: dict[str, float]


def compared(figures: list[Figure], earlier: list[Figure]) -> dict[str, float]:
    """Tell by what factor each figure's ratio has changed; those that only one of both runs has are left out."""
    before = {figure.name: figure.ratio for figure in earlier}
    return {
        figure.name: figure.ratio / ratio for figure in figures if figure.ratio and (ratio := before.get(figure.name))
    }


def job(name: str, spec: dict[str, Any], *, within_s: float = 900.0) -> Told:
    """Run the job of that name in `worker.bench.jobs`; tells what it tells.

    :raises subprocess.SubprocessError: if it fails or takes longer than it may.
    """
    command = [sys.executable, "-m", "worker.bench.jobs", name, json.dumps(spec)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=within_s)
    told: Told = json.loads(done.stdout)
    return told


@contextmanager
def stub(delay_s: float, *options: str) -> Iterator[int]:
    """Run the stub in a process of its own; gives its port."""
    command = [sys.executable, "-m", "worker.simulator.stub", "--port", "0", "--delay", str(delay_s), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("bench: the stub has no output")
            yield int(json.loads(process.stdout.readline())["port"])
        finally:
            process.terminate()
