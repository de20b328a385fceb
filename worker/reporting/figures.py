"""What a report counts, result by result, in bounded memory however many there are."""

from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from worker.result import Disposition, Result

MOST_KEYS = 5_000
MOST_MINUTES = 20_000
MOST_CLAIMS = 200
OTHER = "other"

GROUPS: dict[str, str] = {
    Disposition.ACCEPTED: "accepted",
    Disposition.ACCEPTED_WITH_ERRORS: "accepted",
    Disposition.REJECTED: "refused",
    Disposition.INVALID: "refused",
    Disposition.UNDETERMINED: "unclear",
    Disposition.REVIEW: "unclear",
    Disposition.UNDELIVERED: "unclear",
}
"""The dispositions in three: fine, to be corrected, without a verdict."""

Bins = Sequence[tuple[str, Counter[str]]]
"""Columns of a chart: what each stands for, and its counts by group."""


class Row(msgspec.Struct, frozen=True):
    """A claim that a person may want to look at."""

    claim_id: str
    batch_name: str
    disposition: str
    reason: str
    patient_control_number: str
    payer_id: str
    total_charge: str
    completed_at: str


class Figures:
    """Counts of results. Latencies are kept to two digits, times to the minute, or the hour where they are many."""

    def __init__(self) -> None:
        self.claims = 0
        self.attempts = 0
        self.ambiguous = 0
        self.duplicates = 0
        self.dispositions: Counter[str] = Counter()
        self.reasons: Counter[tuple[str, str]] = Counter()
        self.reason_texts: dict[tuple[str, str], str] = {}
        self.payers: dict[str, Counter[str]] = {}
        self.tries: Counter[int] = Counter()
        self.latencies_ms: Counter[int] = Counter()
        self.environments: Counter[str] = Counter()
        self.first_at = ""
        self.last_at = ""
        self._newest: deque[Row] = deque(maxlen=MOST_CLAIMS)
        self._times: dict[int, Counter[str]] = {}
        self._unit = 1  # minutes

    def add(self, result: Result) -> None:
        """Count one result; `result` is shown as it is, so mask first what must not be."""
        disposition = result.disposition.value
        self.claims += 1
        self.attempts += result.attempts
        self.ambiguous += result.ambiguous_attempts
        self.duplicates += result.duplicate_of is not None
        self.dispositions[disposition] += 1
        self.environments[result.environment] += 1
        if result.reason is not None and result.disposition is not Disposition.ACCEPTED:
            self._count_reason(disposition, result.reason.code, result.reason.text)
        payer = result.payer_id or "none"
        payer = payer if payer in self.payers or len(self.payers) < MOST_KEYS else OTHER
        self.payers.setdefault(payer, Counter())[disposition] += 1
        if result.attempts:
            self.tries[result.attempts] += 1
        if result.latency_ms is not None:
            self.latencies_ms[_two_digits(result.latency_ms)] += 1
        self._count_time(result)
        if result.disposition is not Disposition.ACCEPTED:
            self._newest.append(_row(result))

    @property
    def to_look_at(self) -> Sequence[Row]:
        """The newest claims that were not simply accepted, newest first."""
        return list(reversed(self._newest))

    def latency_ms(self, share: float) -> int | None:
        """Tell within which time so large a share of the answers came; None if there is none."""
        wanted = share * self.latencies_ms.total()
        seen = 0
        for latency, count in sorted(self.latencies_ms.items()):
            seen += count
            if seen >= wanted:
                return latency
        return None

    def over_time(self, most: int) -> tuple[int, Bins]:
        """Give the results completed in each of at most `most` equal steps, and how many minutes a step is."""
        if not self._times:
            return 1, []
        first, last = min(self._times), max(self._times)
        steps = (1, 5, 15, 60, 180, 720, 1440, 10_080)
        step = next((s for s in steps if s >= self._unit and (last // s - first // s) < most), 0)
        step = step or -(-(last - first + 1) // most)
        bins: dict[int, Counter[str]] = {at: Counter() for at in range(first // step, last // step + 1)}
        for minute, counts in self._times.items():
            bins[minute // step].update(counts)
        return step, [(_minute_text(at * step), counts) for at, counts in bins.items()]

    def _count_reason(self, disposition: str, code: str, text: str) -> None:
        key = (disposition, code)
        if key not in self.reason_texts and len(self.reason_texts) >= MOST_KEYS:
            key, text = (disposition, OTHER), "Further reasons."
        self.reason_texts.setdefault(key, text)
        self.reasons[key] += 1

    def _count_time(self, result: Result) -> None:
        at = result.completed_at
        self.first_at = min(self.first_at or at, at)
        self.last_at = max(self.last_at, at)
        minute = int(datetime.fromisoformat(at).timestamp()) // 60
        self._times.setdefault(minute - minute % self._unit, Counter())[GROUPS[result.disposition]] += 1
        if len(self._times) > MOST_MINUTES and self._unit == 1:
            self._unit = 60
            merged: dict[int, Counter[str]] = {}
            for kept, counts in self._times.items():
                merged.setdefault(kept - kept % 60, Counter()).update(counts)
            self._times = merged


def _two_digits(value: int) -> int:
    unit = int(10 ** max(len(str(value)) - 2, 0))
    return round(value / unit) * unit


def _minute_text(minute: int) -> str:
    return f"{datetime.fromtimestamp(minute * 60, UTC):%Y-%m-%d %H:%M}"


def _row(result: Result) -> Row:
    return Row(
        claim_id=result.claim_id,
        batch_name=result.batch_name,
        disposition=result.disposition.value,
        reason=f"{result.reason.code}: {result.reason.text}" if result.reason else "-",
        patient_control_number=result.patient_control_number or "-",
        payer_id=result.payer_id or "-",
        total_charge=result.total_charge or "-",
        completed_at=result.completed_at,
    )
