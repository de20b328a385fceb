"""What the worker counts about itself: plain numbers, written by the flow, read by probes, metrics and progress.

Everything runs on one event loop, so an increment needs no lock. Counters only grow, gauges say how it is now::

    tally.in_flight += 1                             a gauge: the flow writes the attribute
    tally.attempted("definitive", 200)               once per POST that ended
    tally.claim_completed("accepted", 2400)          once per result that became durable

No value here holds claim content; that is why the status page and the metrics may show all of it.
"""

from bisect import bisect_left

from worker.result import AttemptClass, Disposition

# Upper bounds in seconds of an answer's time; contract.md §5 says what to expect (P50 2.4 s, P99 30 s, cut-off 120 s).
LATENCY_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)


class Tally:
    """The worker's counters and gauges; every attribute may be read at any time.

    ======================== ========================================================================
    `claims`                 results made durable in this process, by disposition
    `attempts`               POSTs that ended, by what their end means (`worker.result.AttemptClass`)
    `answers`                POSTs that were answered, by HTTP status
    `retries`                attempts that were not a claim's first
    `latency`                claims by time from first byte to answer: one number a bucket, the last is beyond all;
                             `latency_sum_s` is the sum of these times
    `in_flight`              POSTs under way now
    `backing_off`            claims that wait for their next attempt
    `queued`                 claims cut from their batch and not yet begun
    `unsent_results`         results in the ledger that some sink has not taken yet
    `batches_open`           batches being worked on now; `batches_done` and `batches_refused` count the past
    `gate`                   why submission is paused; "" while the gate is open
    `input_available`        False while the input cannot be reached
    `limit`                  how many POSTs may be under way now, and `limit_reason` why, in a word
    `stopped_by`             the signal for which the work drains, by its name; "" while there was none
    `token_refreshes`        tokens fetched
    `log_lines_lost`         log lines that could not be written; `log_values_withheld` counts what was left out of
                             lines because it is not on the allow-list
    ======================== ========================================================================
    """

    __slots__ = (
        "answers",
        "attempts",
        "backing_off",
        "batches_done",
        "batches_open",
        "batches_refused",
        "claims",
        "gate",
        "in_flight",
        "input_available",
        "latency",
        "latency_sum_s",
        "limit",
        "limit_reason",
        "log_lines_lost",
        "log_values_withheld",
        "queued",
        "retries",
        "stopped_by",
        "token_refreshes",
        "unsent_results",
    )

    def __init__(self) -> None:
        self.claims = dict.fromkeys([each.value for each in Disposition], 0)
        self.attempts = dict.fromkeys([each.value for each in AttemptClass], 0)
        self.answers: dict[int, int] = {}
        self.retries = 0
        self.latency = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.latency_sum_s = 0.0
        self.in_flight = 0
        self.backing_off = 0
        self.queued = 0
        self.unsent_results = 0
        self.batches_open = 0
        self.batches_done = 0
        self.batches_refused = 0
        self.stopped_by = ""
        self.gate = ""
        self.input_available = True
        self.limit = 0.0
        self.limit_reason = ""
        self.token_refreshes = 0
        self.log_lines_lost = 0
        self.log_values_withheld = 0

    @property
    def claims_completed(self) -> int:
        """Results made durable in this process, whatever their disposition."""
        return sum(self.claims.values())

    def claim_completed(self, disposition: str, latency_ms: int | None) -> None:
        """Count a durable result; `latency_ms` is None where nothing was sent."""
        self.claims[disposition] += 1
        if latency_ms is not None:
            seconds = latency_ms / 1000
            self.latency[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
            self.latency_sum_s += seconds

    def attempted(self, attempt_class: str, http_status: int | None = None, *, retry: bool = False) -> None:
        """Count a POST that ended; `http_status` is None if no answer came."""
        self.attempts[attempt_class] += 1
        self.retries += retry
        if http_status is not None:
            self.answers[http_status] = self.answers.get(http_status, 0) + 1
