"""What the jobs of `bench` share: a worker's folders and settings under one root, and a meter."""

import resource
import time
from pathlib import Path
from typing import Any

from worker.settings import Settings, load
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec


def fill_folder(folder: Path, spec: dict[str, Any]) -> int:
    """Write `files` batches of `per_file` claims each into the input folder; tells how many claims that is.

    `first` is the number of the first claim, so that several calls write claims that were not there before.
    """
    files, per_file, first = int(spec["files"]), int(spec["per_file"]), int(spec.get("first", 1))
    claims = GeneratorSpec(claims=per_file, first_ordinal=first, control_number=first)
    write_folder(folder, files=files, claims_per_file=per_file, spec=claims, prefix=f"batch-{first}")
    return files * per_file


def settings_of(root: Path, spec: dict[str, Any]) -> Settings:
    """Give the settings of a worker under `root` that asks the stub at the port of `spec`."""
    in_flight = int(spec["in_flight"])
    return load(
        None,
        {},
        {
            "environment": "simulator",
            "api.base_url": f"http://127.0.0.1:{spec['port']}",
            "input.url": f"dir:{root / 'in'}",
            "output.urls": [f"jsonl:{root / 'out/results.jsonl'}"],
            "state.url": f"sqlite:{root / 'state/ledger.db'}",
            "flow.mode": "fixed",
            "flow.max_in_flight": in_flight,
            "telemetry.http": "",
        },
    )


class Meter:
    """Wall and CPU time of a block."""

    def __enter__(self) -> "Meter":
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self.wall_s = self.cpu_s = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._wall
        self.cpu_s = time.process_time() - self._cpu

    def told(self, claims: int) -> dict[str, Any]:
        """Say it as one JSON object: rates a second, CPU in microseconds a claim, peak memory in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "claims": claims,
            "wall_s": self.wall_s,
            "per_s": claims / self.wall_s,
            "cpu_us": self.cpu_s / claims * 1e6,
            "peak_bytes": peak,
        }
