"""Counting costs the flow an increment; metrics and status page are made from it when somebody asks."""

import re

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from worker.result import AttemptClass, Disposition
from worker.tally import LATENCY_BOUNDS_S, Tally
from worker.telemetry.metrics import TallyCollector, make_registry, render
from worker.telemetry.page import status_page


def samples(tally: Tally) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(TallyCollector(tally))
    families = text_string_to_metric_families(render(registry).decode())
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_every_disposition_and_attempt_class_is_counted_from_the_start() -> None:
    tally = Tally()

    assert tally.claims.keys() == {disposition.value for disposition in Disposition}
    assert tally.attempts.keys() == {attempt_class.value for attempt_class in AttemptClass}
    assert samples(tally)["precheck_claims_total{disposition=undelivered}"] == 0


def test_results_are_counted_by_disposition_with_their_latency() -> None:
    tally = Tally()

    tally.claim_completed("accepted", 2400)
    tally.claim_completed("accepted", 2500)
    tally.claim_completed("rejected", 500_000)
    tally.claim_completed("invalid", None)

    found = samples(tally)
    assert tally.claims_completed == 4
    assert found["precheck_claims_total{disposition=accepted}"] == 2
    assert found["precheck_claim_seconds_bucket{le=1.0}"] == 0
    assert found["precheck_claim_seconds_bucket{le=2.5}"] == 2
    assert found["precheck_claim_seconds_bucket{le=120.0}"] == 2
    assert found["precheck_claim_seconds_bucket{le=+Inf}"] == 3
    assert found["precheck_claim_seconds_count"] == 3
    assert found["precheck_claim_seconds_sum"] == pytest.approx(504.9)


def test_attempts_are_counted_by_their_end_and_answers_by_status() -> None:
    tally = Tally()

    tally.attempted("transient", 504)
    tally.attempted("definitive", 200, retry=True)
    tally.attempted("not_sent", retry=True)

    found = samples(tally)
    assert found["precheck_attempts_total{class=transient}"] == 1
    assert found["precheck_answers_total{http_status=504}"] == 1
    assert found["precheck_answers_total{http_status=200}"] == 1
    assert found["precheck_retries_total"] == 2


def test_a_disposition_that_does_not_exist_is_an_error_and_no_new_label() -> None:
    with pytest.raises(KeyError):
        Tally().claim_completed("DOE^JANE", 1)


def test_gauges_show_how_it_is_now() -> None:
    tally = Tally()
    tally.in_flight, tally.limit, tally.queued = 7, 16, 90
    tally.gate, tally.input_available = "outage", False

    found = samples(tally)

    assert found["precheck_in_flight"] == 7
    assert found["precheck_limit"] == 16
    assert found["precheck_queued_claims"] == 90
    assert found["precheck_gate_open"] == 0
    assert found["precheck_input_available"] == 0


def test_every_number_of_the_tally_is_in_the_metrics() -> None:
    tally = Tally()
    numbers = [name for name in Tally.__slots__ if isinstance(getattr(tally, name), int | float)]
    before = samples(tally)

    for name in numbers:
        setattr(tally, name, 41)
        after = samples(tally)
        assert after != before, name
        before = after


def test_the_process_is_measured_too() -> None:
    assert b"process_resident_memory_bytes" in render(make_registry(Tally()))


def test_buckets_ascend() -> None:
    assert list(LATENCY_BOUNDS_S) == sorted(set(LATENCY_BOUNDS_S))


def test_the_status_page_shows_counts_and_escapes_the_reason() -> None:
    tally = Tally()
    for _ in range(1234):
        tally.claim_completed("accepted_with_errors", 10)
    tally.attempted("definitive", 200)

    page = status_page(tally, "gate: <outage>")

    assert "<tr><th>accepted with errors</th><td>1,234</td></tr>" in page
    assert "<tr><th>200</th><td>1</td></tr>" in page
    assert "not ready: gate: &lt;outage&gt;" in page


def test_the_status_page_loads_nothing_from_elsewhere() -> None:
    page = status_page(Tally(), None)

    assert not re.search(r"src=|@import|url\(|<script|https?://", page)
    assert all(link.startswith("/") for link in re.findall(r'href="([^"]*)"', page))
