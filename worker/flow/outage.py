"""When the ends of attempts show that not the claims are at fault: the service is down, or the requests are wrong.

Pure: fed with outcomes and times, says True once the gate should shut. An outage is recognised by share, or
by an unbroken row, whichever is seen first; both need some seconds, as a blip of 50 ms among 400 calls is no outage.

Refusals come at once and answers take seconds, some a minute: so for a while an outage is hidden among the answers to
what was sent before it. Only an answer to what was sent since the row began breaks it; and the row has to last long
enough for such an answer to have come.
"""

import math
from collections import deque

WINDOW_S = 10.0
LOST_SHARE = 0.8
LEAST_ATTEMPTS = 20
LEAST_ROW = 10
LEAST_SECONDS = 5.0
LEAST_ANSWERS_LONG = 3.0  # times the usual answer
FAULTS_IN_A_ROW = 5


class OutageDetector:
    """Knows whether most of the last attempts were lost.

    True once at least 80 % of 20 or more attempts in the last 10 s are lost, or 10 in a row without an answer to
    anything sent since the first of them, and the first of them lies at least 5 s back; for the row also three times
    as long as answers usually take.
    """

    def __init__(self) -> None:
        self._seconds: deque[list[float]] = deque()  # [second, attempts, lost]
        self._row = 0
        self._row_began = 0.0
        self._log_usual_s = -math.inf

    @property
    def suspected(self) -> bool:
        """Whether the last ten attempts were lost, however little time that took."""
        return self._row >= LEAST_ROW

    def reset(self) -> None:
        """Forget everything but how long answers take."""
        self._seconds.clear()
        self._row = 0

    def record(self, lost: bool, now: float, latency_s: float = 0.0) -> bool:
        """Count the end of an attempt that took `latency_s`; whether this is an outage."""
        self._count(lost, now)
        if not lost:
            if not self._row or now - latency_s >= self._row_began:
                self._learn(latency_s)
                self._row = 0
            return False
        if not self._row:
            self._row_began = now
        self._row += 1
        return self._long_row(now) or self._mostly_lost(now)

    def _count(self, lost: bool, now: float) -> None:
        if not self._seconds or now >= self._seconds[-1][0] + 1.0:
            self._seconds.append([now, 0, 0])
            while self._seconds[0][0] <= now - WINDOW_S:
                self._seconds.popleft()
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += lost

    def _learn(self, latency_s: float) -> None:
        """Follow the usual latency, as a mean of logarithms: one answer of a minute must not count like twenty."""
        if latency_s > 0.0:
            log_s = math.log(latency_s)
            known = self._log_usual_s > -math.inf
            self._log_usual_s = self._log_usual_s + (log_s - self._log_usual_s) / 16 if known else log_s

    def _long_row(self, now: float) -> bool:
        long_s = max(LEAST_SECONDS, LEAST_ANSWERS_LONG * math.exp(self._log_usual_s))
        return self._row >= LEAST_ROW and now - self._row_began >= long_s

    def _mostly_lost(self, now: float) -> bool:
        if now - self._seconds[0][0] < LEAST_SECONDS:
            return False
        attempts = sum(second[1] for second in self._seconds)
        return attempts >= LEAST_ATTEMPTS and sum(second[2] for second in self._seconds) >= LOST_SHARE * attempts


class FaultRow:
    """Counts requests refused as such, in a row: then the query or the settings are wrong and not the claims."""

    def __init__(self) -> None:
        self._row = 0

    def record(self, request_fault: bool) -> bool:
        """Count an answer; whether there were five faults in a row."""
        self._row = self._row + 1 if request_fault else 0
        return self._row >= FAULTS_IN_A_ROW
