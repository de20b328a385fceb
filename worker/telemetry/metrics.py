"""Prometheus metrics, made from the tally when somebody scrapes; the flow pays nothing for them.

No label holds anything of a claim: dispositions, HTTP statuses and reasons are small closed sets.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.tally import LATENCY_BOUNDS_S, Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class TallyCollector(Collector):
    """Shows a tally in Prometheus's terms."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        tally = self._tally
        yield _counters("precheck_claims", "Results made durable.", "disposition", tally.claims)
        yield _counters("precheck_attempts", "POSTs that ended, by what that means.", "class", tally.attempts)
        answers = {str(status): count for status, count in sorted(tally.answers.items())}
        yield _counters("precheck_answers", "POSTs that were answered.", "http_status", answers)
        yield self._latency()
        for name, meaning, count in (
            ("precheck_retries", "Attempts that were not a claim's first.", tally.retries),
            ("precheck_batches_done", "Batches settled.", tally.batches_done),
            (
                "precheck_batches_refused",
                "Batches set aside as unusable: in quarantine, or with the dead letters.",
                tally.batches_refused,
            ),
            ("precheck_token_refreshes", "Tokens fetched.", tally.token_refreshes),
            ("precheck_log_lines_lost", "Log lines that could not be written.", tally.log_lines_lost),
            (
                "precheck_log_values_withheld",
                "Values left out of log lines, because they are not on the allow-list.",
                tally.log_values_withheld,
            ),
        ):
            yield CounterMetricFamily(name, meaning, value=count)
        for name, meaning, value in (
            ("precheck_in_flight", "POSTs under way.", tally.in_flight),
            ("precheck_limit", "POSTs that may be under way.", tally.limit),
            ("precheck_backing_off_claims", "Claims that wait for their next attempt.", tally.backing_off),
            ("precheck_queued_claims", "Claims cut from their batch and not begun.", tally.queued),
            ("precheck_unsent_results", "Results that some sink has not taken yet.", tally.unsent_results),
            ("precheck_open_batches", "Batches being worked on.", tally.batches_open),
            ("precheck_gate_open", "1 while claims are submitted, 0 while submission is paused.", not tally.gate),
            ("precheck_input_available", "0 while the input cannot be reached.", tally.input_available),
        ):
            yield GaugeMetricFamily(name, meaning, value=float(value))

    def _latency(self) -> Metric:
        buckets: list[tuple[str, float]] = []
        below = 0
        for bound, count in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), self._tally.latency, strict=True):
            below += count
            buckets.append((bound, below))
        family = HistogramMetricFamily("precheck_claim_seconds", "From a claim's first byte to its answer, in seconds.")
        family.add_metric([], buckets, sum_value=self._tally.latency_sum_s)
        return family


def make_registry(tally: Tally) -> CollectorRegistry:
    """Make a registry with this worker's metrics and those of its process (memory, CPU, open files)."""
    registry = CollectorRegistry()
    registry.register(TallyCollector(tally))
    ProcessCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Write all metrics in Prometheus's text format."""
    return generate_latest(registry)


def _counters(name: str, meaning: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
