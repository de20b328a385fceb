"""That the measurements measure what they say, with little to do."""

import json
import urllib.request
from pathlib import Path

from tests.oracle import assert_ledger_at_rest
from worker.bench.figures import job, stub
from worker.bench.growing import NEVER_S
from worker.bench.latency import measure_latency


def test_claims_come_on_top_of_those_that_a_ledger_was_filled_with(tmp_path: Path) -> None:
    filled = job("fill", {"root": str(tmp_path), "claims": 700})
    with stub(0.0) as port:
        spec = {"root": str(tmp_path), "port": port, "in_flight": 8, "files": 5, "per_file": 1}
        job("start", spec)
        done = job("on_top", spec | {"first": 11})

    assert filled["ledger_bytes"] > 700 * 300
    assert (done["claims"], done["results"]) == (5, 5)
    assert_ledger_at_rest(tmp_path / "state/ledger.db")


def test_recovering_is_measured_where_a_worker_died_with_every_claim_sent_once(tmp_path: Path) -> None:
    spec = {"root": str(tmp_path), "in_flight": 8, "files": 1, "per_file": 40}
    with stub(NEVER_S) as port:
        job("strand", spec | {"port": port})
    with stub(0.0) as port:
        recovered = job("recover", spec | {"port": port})

    attempts = {json.loads(line)["attempts"] for line in (tmp_path / "out/results.jsonl").read_text().splitlines()}
    assert attempts == {2}
    assert 0.0 < recovered["wall_s"] < 30.0


def test_the_stub_notes_when_each_claim_came_if_asked_to() -> None:
    body = b'{"x12RequestData":"ISA*00*~CLM*PCN-7*100*~"}'
    with stub(0.0, "--notes") as port:
        origin = f"http://127.0.0.1:{port}"
        for _ in range(2):
            urllib.request.urlopen(f"{origin}/oihub/pre-service/v1/claim/precheck", data=body, timeout=10).close()
        with urllib.request.urlopen(f"{origin}/notes", timeout=10) as answer:
            (first, second) = json.load(answer)

    assert (first[0], second[0]) == ("PCN-7", "PCN-7")
    assert first[1] < second[1]


def test_latency_is_told_as_the_bound_by_what_was_measured() -> None:
    figures = measure_latency(seconds=1, tell=lambda _: None)

    assert [figure.name for figure in figures] == ["to the wire, p50", "to the wire, p99", "to the ledger, p99", "idle"]
    assert all(figure.numbers["value"] > 0 for figure in figures[:3])
