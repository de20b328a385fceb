"""Two workers, as processes, on one ledger in PostgreSQL."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.harness import Run, Simulator, Site, log_lines, wait_until
from tests.faults.crashing import Given
from tests.oracle import assert_one_result_each, read_results, results_so_far
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
        return [[result["result_id"] for result in results_so_far(site.results)] for site in self.sites]

    def states(self) -> Counter[bool]:
        """Count the batches that are done, and those that are not."""
        rows = self.ledger.ask("SELECT finished_at IS NOT NULL FROM {}.batches")
        return Counter(row[0] for row in rows)

    def assert_waited_and_told_all(self, runs: Sequence[Run], given: Sequence[Given], status: Run) -> None:
        """Hold two workers whose ledger was away once against the 150 claims that each was given."""
        assert [run.returncode for run in runs] == [0, 0], runs[0].stderr.decode() + runs[1].stderr.decode()
        for site, claims in zip(self.sites, given, strict=True):
            results = read_results(site.results)
            assert_one_result_each(results, 150)
            assert Counter(result["patient_control_number"] for result in results) == claims.claims
        for run in runs:
            told = [line for line in log_lines(run.stdout) if line["event"] in ("sink.unavailable", "storage.freed")]
            assert [line["event"] for line in told] == ["sink.unavailable", "storage.freed"]
        assert status.returncode == 0
        assert b"300 claims in = 300 results + 0 pending" in status.stdout

    def none_left(self) -> None:
        for run in self.runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
