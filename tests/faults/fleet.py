"""Two workers, as processes, on one ledger in PostgreSQL."""

import json
from collections import Counter
from pathlib import Path

from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.postgres import SharedLedger

NAMES = ("alpha", "beta")


class Fleet:
    """Two workers with names, folders and result files of their own on one ledger."""

    def __init__(self, root: Path, simulator: Simulator, ledger: SharedLedger, **environ: str) -> None:
        self.ledger = ledger
        self.sites = [Site(root / name, simulator.origin) for name in NAMES]
        for name, site in zip(NAMES, self.sites, strict=True):
            site.environ |= {
                "PRECHECK_STATE__URL": ledger.url,
                "PRECHECK_STATE__WORKER_NAME": name,
                "PYTHONPYCACHEPREFIX": str(root / "bytecode"),
                **environ,
            }
            site.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.runs: list[Run] = []

    def start(self, *numbers: int, **environ: str) -> list[Run]:
        runs = [self.sites[number].start("run", "--create", **environ) for number in numbers]
        self.runs += runs
        for run in runs:
            wait_until(lambda run=run: run.has_logged("worker.started") or run.process.poll() is not None)  # type: ignore[misc]
        return runs

    def told(self) -> list[list[str]]:
        """Name the results in each one's file; a line that is being written is passed over."""
        files = [site.results.read_bytes() if site.results.exists() else b"" for site in self.sites]
        return [[json.loads(line)["result_id"] for line in file.split(b"\n")[:-1]] for file in files]

    def states(self) -> Counter[bool]:
        """Count the batches that are done, and those that are not."""
        rows = self.ledger.ask("SELECT finished_at IS NOT NULL FROM {}.batches")
        return Counter(row[0] for row in rows)

    def none_left(self) -> None:
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
