"""A sibling API that submits, reached by `config/claim_actions.toml` alone: an unknown outcome is the last word."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Simulator, Site, wait_until
from tests.e2e.test_whole_path import put
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results, whole_lines

CONFIG = Path(__file__).parents[2] / "config/claim_actions.toml"


@pytest.fixture
def sibling() -> Iterator[Simulator]:
    """Give one that takes a quarter of a second, so that many calls are under way when a worker is killed."""
    simulator = Simulator("--profile", "claim_actions", "--latency-scale", "0.1")
    yield simulator
    simulator.close()


@pytest.fixture
def submitting(site: Site, sibling: Simulator) -> Site:
    """The example's settings but for the places: this machine's simulator, folders and secret."""
    secret = site.root / "secret"
    secret.write_text("simulator-secret\n")
    site.environ |= {
        "PRECHECK_API__BASE_URL": sibling.origin,
        "PRECHECK_AUTH__CLIENT_SECRET_FILE": str(secret),
        "PRECHECK_INPUT__URL": f"dir:{site.inbox}",
        "PRECHECK_OUTPUT__URLS": f'["jsonl:{site.results}"]',
        "PRECHECK_STATE__URL": f"sqlite:{site.ledger}",
    }
    return site


def attempts_received(sibling: Simulator) -> dict[str, int]:
    return {answer["patient_control_number"]: answer["attempts"] for answer in sibling.get("answers")}


def under_way(ledger: Path) -> int:
    """Count the claims whose first attempt may have begun and that have no answer, as far as the ledger knows."""
    with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as db:
        (begun,), (failed,), (ended,) = db.execute(
            "SELECT sum(dispatched_through) FROM batches UNION ALL SELECT count(*) FROM attempts WHERE NOT in_flight"
            " UNION ALL SELECT count(*) FROM results"
        )
    return int(begun) - int(failed) - int(ended)


def by_number(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {result["patient_control_number"]: result for result in results}


@pytest.mark.fault(90)
def test_a_claim_whose_outcome_is_unknown_is_for_review_and_is_sent_once_only(
    submitting: Site, sibling: Simulator
) -> None:
    sibling.set_faults(http_500=0.1, http_504=0.15, truncated=0.1, reset=0.1)
    put(submitting.inbox, 300, magic="OK-")

    done = submitting.run("run", "--once", "--config", str(CONFIG))

    results, received = by_number(read_results(submitting.results)), attempts_received(sibling)
    unknown = {number: result for number, result in results.items() if result["ambiguous_attempts"]}
    assert done.returncode == 0
    assert_one_result_each(list(results.values()), 300)
    assert_ledger_at_rest(submitting.ledger)
    assert len(unknown) > 50
    assert {result["disposition"] for result in unknown.values()} == {"review"}
    assert {result["ambiguous_attempts"] for result in unknown.values()} == {1}
    assert {number: result["attempts"] for number, result in results.items()} == received
    accepted = [result for result in results.values() if result["disposition"] == "accepted"]
    assert len(accepted) + len(unknown) == 300
    assert max(result["attempts"] for result in accepted) > 1  # a 500 says that it was not taken


@pytest.mark.fault(2)
def test_what_was_under_way_when_the_worker_died_is_for_review_and_is_not_sent_again(
    submitting: Site, sibling: Simulator
) -> None:
    sibling.set_faults(http_500=0.0, http_504=0.0, truncated=0.0)
    put(submitting.inbox, 300, magic="OK-")

    killed = submitting.start(
        "run", "--config", str(CONFIG), PRECHECK_FLOW__MODE="fixed", PRECHECK_FLOW__MAX_IN_FLIGHT="16"
    )
    wait_until(lambda: len(whole_lines(submitting.results)) >= 30)
    with sibling.frozen():
        wait_until(lambda: under_way(submitting.ledger) == 16)
        killed.stop(signal.SIGKILL)
    done = submitting.run("run", "--once", "--config", str(CONFIG))

    results = read_results(submitting.results)
    assert done.returncode == 0
    assert_one_result_each(results, 300)
    assert set(attempts_received(sibling).values()) == {1}
    assert {result["disposition"] for result in results} == {"accepted", "review"}
    assert [result["disposition"] for result in results].count("review") == 16
