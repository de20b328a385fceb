"""The measurements of `bench --growth`: what stays the same, and what does not, as the ledger grows.

============= ============================================== ===============================================
what          measured                                       held against
============= ============================================== ===============================================
growth        CPU a claim on top of a million settled ones   the same on top of ten thousand, in turns
ledger        bytes a settled claim                          1.2 kB
start         a start with nothing to do, on that ledger     1 s
recovery      a start with 100,000 claims to be sent again,  3 s
              to the first result
============= ============================================== ===============================================
"""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from worker.bench.figures import Figure, Tell, job, stub

BYTES = 1200
START_S = 1.0
RECOVERY_S = 3.0
NEVER_S = 600.0  # an answer that does not come


def measure_growth(*, quick: bool, rounds: int, tell: Tell) -> list[Figure]:
    """Fill two ledgers and work on top of them in turns; `quick` takes a tenth of the work."""
    scale = 10 if quick else 1
    small, large, pending = 10_000 // scale, 1_000_000 // scale, 100_000 // scale
    with TemporaryDirectory(prefix="precheck-bench-") as folder:
        grown = _grown(Path(folder), small, large, 5_000 // scale, rounds, tell)
    with TemporaryDirectory(prefix="precheck-bench-") as folder:
        return [*grown, _recovery(Path(folder), pending, tell)]


def _grown(folder: Path, small: int, large: int, files: int, rounds: int, tell: Tell) -> list[Figure]:
    tell(f"growth: filling ledgers with {small:,} and {large:,} settled claims")
    job("fill", {"root": str(folder / "small"), "claims": small})
    filled = job("fill", {"root": str(folder / "large"), "claims": large})
    tell(f"growth: {files:,} claims on top of each, {rounds} rounds")
    on_small, on_large = [], []
    with stub(0.0) as port:
        spec = {"port": port, "in_flight": 64, "files": files, "per_file": 1}
        starts = [job("start", spec | {"root": str(folder / "large")}) for _ in range(rounds)]
        for turn in range(rounds):
            first = {"first": turn * files + 1}
            on_small.append(job("on_top", spec | first | {"root": str(folder / "small")}))
            on_large.append(job("on_top", spec | first | {"root": str(folder / "large")}))
    cheap, dear = median(run["cpu_us"] for run in on_small), median(run["cpu_us"] for run in on_large)
    start_s = median(run["wall_s"] for run in starts)
    each = filled["ledger_bytes"] / large
    return [
        Figure(
            name="growth",
            ratio=median(one["cpu_us"] / other["cpu_us"] for one, other in zip(on_small, on_large, strict=True)),
            target=0.91,
            measured=f"{dear:.0f} µs CPU a claim on top of {large:,}",
            baseline=f"{cheap:.0f} µs on top of {small:,}",
            numbers={"cpu_us": dear, "small_cpu_us": cheap, "settled": large},
        ),
        _within("ledger", BYTES, each, f"{each:.0f} bytes a settled claim", f"{BYTES:,} bytes", {"settled": large}),
        _within("start", START_S, start_s, f"{start_s:.2f} s", f"{START_S:g} s", {"settled": large}),
    ]


def _recovery(root: Path, pending: int, tell: Tell) -> Figure:
    tell(f"recovery with {pending:,} claims pending")
    spec = {"root": str(root), "in_flight": 64, "files": 1, "per_file": pending}
    with stub(NEVER_S) as port:
        job("strand", spec | {"port": port})
    with stub(0.0) as port:
        recovery_s = job("recover", spec | {"port": port})["wall_s"]
    measured = f"{recovery_s:.2f} s with {pending:,} claims pending"
    return _within("recovery", RECOVERY_S, recovery_s, measured, f"{RECOVERY_S:g} s", {"pending": pending})


def _within(name: str, bound: float, value: float, measured: str, baseline: str, numbers: dict[str, float]) -> Figure:
    return Figure(name, bound / value, 1.0, measured, baseline, numbers | {"value": value})
