"""How fast the worker is with each engine as its source and as its sink, beside a folder and a file in the same run.

    python -m tests.bench.bench_engines [--claims N] [--rounds N] [ENGINE…]

Each figure is claims a second, from the first batch opened to the last one settled, as a ratio to the same worker's
from a folder into a file just before: the median of the rounds. The simulator answers at once, ten claims are a
message, each engine is a server of its own on this machine that keeps what it confirms (`tests.servers`; SQS is moto or
what TEST_SQS_ENDPOINT names, in memory, so its figure is that one's more than anything else's). Results go to that
engine alone where it is the sink. PostgreSQL is also the ledger, in the place of the one in a file.
"""

import argparse
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from tests.brokers import PLACES
from tests.e2e.harness import Simulator, Site, log_lines
from tests.postgres import SharedLedger, Table, cluster
from tests.servers import running
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

CLAIMS_A_MESSAGE = 10
FLOW = {"PRECHECK_FLOW__MODE": "fixed", "PRECHECK_FLOW__MAX_IN_FLIGHT": "64", "PRECHECK_INPUT__PREFETCH": "64"}
ENGINES = ("rabbitmq", "nats", "redis", "sqs", "postgresql")


class Bench:
    """The simulator and the batches of one run of this script; each measurement has folders of its own."""

    def __init__(self, root: Path, simulator: Simulator, claims: int) -> None:
        self._root = root
        self._simulator = simulator
        self._claims = claims
        self._count = 0

    def site(self) -> Site:
        self._count += 1
        site = Site(self._root / f"site{self._count}", self._simulator.origin)
        site.environ |= FLOW
        return site

    def write(self, folder: Path) -> None:
        """Write the batches, always the same ones."""
        files = self._claims // CLAIMS_A_MESSAGE
        write_folder(folder, files=files, claims_per_file=CLAIMS_A_MESSAGE, spec=GeneratorSpec(claims=1))

    def folder(self, *outputs: str) -> float:
        """Measure from a folder into the given outputs, or a file."""
        site = self.site()
        self.write(site.inbox)
        return self._measured(site, outputs)

    def ledger(self, url: str) -> float:
        """Measure from a folder into a file, with a ledger that a fleet could share."""
        site = self.site()
        self.write(site.inbox)
        site.environ["PRECHECK_STATE__URL"] = url
        return self._measured(site, ())

    def taken_from(self, url: str) -> float:
        """Measure from a broker into a file."""
        site = self.site()
        self.write(site.root / "given")
        site.environ["PRECHECK_INPUT__URL"] = url
        sent = site.run("enqueue", str(site.root / "given"), "--create")
        assert sent.returncode == 0, sent.stderr.decode()
        return self._measured(site, ())

    def _measured(self, site: Site, outputs: tuple[str, ...]) -> float:
        if outputs:
            site.environ["PRECHECK_OUTPUT__URLS"] = msgspec.json.encode(outputs).decode()
        run = site.start("run", "--once", "--create").wait(within_s=300)
        assert run.returncode == 0, run.stdout.decode()[-2000:] + run.stderr.decode()
        lines = log_lines(run.stdout)
        assert sum(line["event"] == "claim.completed" for line in lines) == self._claims
        began = min(_moment(line) for line in lines if line["event"] == "batch.opened")
        ended = max(_moment(line) for line in lines if line["event"] == "batch.settled")
        return self._claims / (ended - began)


def _moment(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["ts"]).timestamp()


def main() -> None:
    """Measure and print a line an engine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--claims", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("engines", nargs="*", default=ENGINES)
    options = parser.parse_args()
    simulator = Simulator("--profile", "fast")
    try:
        with tempfile.TemporaryDirectory() as root:
            bench = Bench(Path(root), simulator, options.claims)
            bench.folder()  # the first run compiles
            for engine in options.engines:
                measure(bench, Path(root), engine, options.rounds)
    finally:
        simulator.close()


def measure(bench: Bench, root: Path, engine: str, rounds: int) -> None:
    """Measure one engine next to the folder, in turns; tell the median of the rounds' ratios, and all figures."""
    folder, source, sink, ledger = [], [], [], []
    for turn in range(rounds):
        folder.append(bench.folder())
        if engine == "postgresql":
            with cluster() as database:
                sink.append(bench.folder(Table(database.url).url))
                ledger.append(bench.ledger(SharedLedger(database.url).url))
            continue
        with running(engine, root / f"{engine}{turn}") as server:
            claims, results = (PLACES[engine](root, server.url) for _ in range(2))
            source.append(bench.taken_from(claims.url))
            sink.append(bench.folder(results.url))
    parts = {"source": source, "sink": sink, "ledger": ledger}
    ratios = ", ".join(
        f"{what} {statistics.median(one / base for one, base in zip(part, folder, strict=True)):.2f}"
        for what, part in parts.items()
        if part
    )
    raw = {what: [round(one) for one in part] for what, part in {"folder": folder, **parts}.items()}
    sys.stdout.write(f"{engine}: {ratios}; claims/s {raw}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
