"""The measurements of `bench`: each against its baseline in the same run, medians of several rounds.

============= ==================================================== ==============================================
what          measured                                             baseline
============= ==================================================== ==============================================
splitting     survey and split of one large batch, µs a claim      one bare ``bytes.split`` over the same bytes
end to end    a folder of one-claim files → durable results        a bare aiohttp + uvloop POST loop to the same stub
one file      one large file → durable results                     the same
waiting       one file, 1,000 in flight, answers after 0.5 s       the same loop under the same wait; and the ideal
waiting files the same from a folder of one-claim files            the same
4,000 waiting one file, 4,000 in flight, answers after 2 s         the same
============= ==================================================== ==============================================

The stub that answers runs in another process. Rounds alternate between baseline and worker, so that what else
the machine does falls on both.
"""

from statistics import median

import msgspec

from worker.bench.figures import Figure, Tell, Told, job, stub


def measure(*, quick: bool, rounds: int, tell: Tell) -> list[Figure]:
    """Run everything; `quick` takes a tenth of the work. `tell` is told what runs now."""
    scale = 10 if quick else 1
    figures = [_splitting(200_000 // scale, rounds, tell)]
    figures.append(_against_loop("end to end", 0.30, rounds, tell, delay_s=0, in_flight=64, files=20_000 // scale))
    one_file = 100_000 // scale
    figures.append(_against_loop("one file", 0.30, rounds, tell, delay_s=0, in_flight=64, files=1, per_file=one_file))
    waiting = 12_000 // scale
    figures.append(_waiting("waiting", max(1, rounds // 2), tell, files=1, per_file=waiting))
    figures.append(_waiting("waiting files", max(1, rounds // 2), tell, files=waiting))
    # No tenth of this one: with fewer claims than are in flight nothing of it would be left.
    figures.append(
        _waiting("4,000 waiting", max(1, rounds // 2), tell, files=1, per_file=16_000, in_flight=4000, delay_s=2.0)
    )
    return figures


def _splitting(claims: int, rounds: int, tell: Tell) -> Figure:
    tell(f"splitting {claims:,} claims, {rounds} rounds")
    runs = [job("splitting", {"claims": claims}) for _ in range(rounds)]
    cpu_us = median(run["cpu_us"] for run in runs)
    megabytes = median(run["bytes"] / 1e6 / (run["cpu_us"] * run["claims"] / 1e6) for run in runs)
    ratio = median(run["bare_s"] / (run["cpu_us"] * run["claims"] / 1e6) for run in runs)
    return Figure(
        name="splitting",
        ratio=ratio,
        target=None,
        measured=f"{cpu_us:.1f} µs a claim, {megabytes:.0f} MB/s",
        baseline="bytes.split",
        numbers={"cpu_us": cpu_us, "mb_per_s": megabytes, "peak_mb": _peak(runs)},
    )


def _against_loop(
    name: str, target: float, rounds: int, tell: Tell, *, delay_s: float, in_flight: int, files: int, per_file: int = 1
) -> Figure:
    claims = files * per_file
    tell(f"{name}: {claims:,} claims, {in_flight} in flight, {rounds} rounds")
    bare, ours = [], []
    with stub(delay_s) as port:
        for _ in range(rounds):
            spec = {"port": port, "in_flight": in_flight, "claims": claims, "files": files, "per_file": per_file}
            bare.append(job("bare_loop", spec))
            ours.append(job("end_to_end", spec))
            if ours[-1]["results"] != claims:
                raise RuntimeError(f"bench: {claims} claims went in, {ours[-1]['results']} results came out")
    ratio = median(one["per_s"] / other["per_s"] for one, other in zip(ours, bare, strict=True))
    numbers = {
        "per_s": median(run["per_s"] for run in ours),
        "bare_per_s": median(run["per_s"] for run in bare),
        "cpu_us": median(run["cpu_us"] for run in ours),
        "bare_cpu_us": median(run["cpu_us"] for run in bare),
        "peak_mb": _peak(ours),
        "ledger_bytes_a_claim": median(run["ledger_bytes"] / claims for run in ours),
    }
    measured = f"{numbers['per_s']:,.0f} claims/s, {numbers['cpu_us']:.0f} µs CPU, {numbers['peak_mb']:.0f} MB"
    baseline = f"{numbers['bare_per_s']:,.0f}/s, {numbers['bare_cpu_us']:.0f} µs CPU"
    return Figure(name, ratio, target, measured, baseline, numbers)


def _waiting(
    name: str,
    rounds: int,
    tell: Tell,
    *,
    files: int,
    per_file: int = 1,
    in_flight: int = 1000,
    delay_s: float = 0.5,
) -> Figure:
    figure = _against_loop(
        name, 0.95, rounds, tell, delay_s=delay_s, in_flight=in_flight, files=files, per_file=per_file
    )
    ideal_per_s = in_flight / delay_s
    ideal = figure.numbers["per_s"] / ideal_per_s
    return msgspec.structs.replace(
        figure,
        measured=f"{figure.measured}; {ideal:.2f} of the ideal {ideal_per_s:,.0f}/s",
        numbers=figure.numbers | {"of_ideal": ideal},
    )


def _peak(runs: list[Told]) -> float:
    return float(median(run["peak_bytes"] for run in runs) / 1e6)
