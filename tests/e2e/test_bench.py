"""That the measurements measure what they say, with little to do."""

import importlib.util
import json
import urllib.request
from pathlib import Path

import pytest

from tests.oracle import assert_ledger_at_rest
from worker.bench.figures import job, stub
from worker.bench.growing import NEVER_S
from worker.bench.latency import measure_latency
from worker.bench.peers import LIBRARIES, measure_peers, require_peers
from worker.errors import SettingsError


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


def test_what_people_write_themselves_answers_every_claim_of_the_same_folder(tmp_path: Path) -> None:
    with stub(0.0) as port:
        spec = {"root": str(tmp_path), "port": port, "in_flight": 4, "files": 20, "per_file": 1}
        told = job("aiohttp_script", spec)

    assert (told["claims"], told["results"]) == (20, 20)


def test_peers_that_are_not_installed_are_named_before_anything_is_measured() -> None:
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if not missing:
        require_peers()
        return

    with pytest.raises(SettingsError, match=r"pip install '\.\[peers\]'") as refused:
        require_peers()

    assert all(name in str(refused.value) for name in missing)


def test_a_peer_that_does_not_end_is_told_and_the_others_go_on() -> None:
    figures = measure_peers(files=5, rounds=1, redis="redis://127.0.0.1:1/0", within_s=20.0, tell=lambda _: None)

    told = {figure.name: figure for figure in figures}
    assert [name for name in told if name.startswith("peer ")] == list(told)
    assert told["peer worker"].ratio is not None
    assert told["peer aiohttp"].numbers["per_s"] > 0
    assert told["peer taskiq"].ratio is None
    assert "ended" in told["peer taskiq"].measured
