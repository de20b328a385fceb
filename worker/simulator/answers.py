"""The simulator's own books: per claim what it answered last and what the worker must have made of it.

They are what a run of the worker is held against, and so know nothing of the worker but the words of
`worker.result.Disposition`.
"""

from collections.abc import Iterator

import msgspec

from worker.result import Disposition

_ENCODER = msgspec.json.Encoder()


class Entry(msgspec.Struct, gc=False):
    """One claim: `attempts` counts POSTs past the bearer check, `http_status` is the last one's, 0 for none.

    `meaning` is the disposition the worker must reach if it sends no further attempt.
    """

    patient_control_number: str
    attempts: int = 0
    http_status: int = 0
    meaning: Disposition = Disposition.UNDELIVERED
    transaction_id: str | None = None


class Stats(msgspec.Struct):
    """Counts since the start; the `max_` ones are the most at one time."""

    prechecks: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    bearers_refused: int = 0
    mock_answers_asked: int = 0  # header environment: sandbox
    token_calls: int = 0
    token_calls_in_flight: int = 0
    max_token_calls_in_flight: int = 0
    health_calls: int = 0
    claims: int = 0
    statuses: dict[int, int] = {}
    faults: dict[str, int] = {}  # how often each was drawn

    def count(self, status: int) -> None:
        """Count one answer to a pre-check call; 0 stands for none."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


class AnswerBook:
    """All entries, by interchange: claim numbers need not be unique, interchanges are."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def attempt(self, claim_number: str, interchange: bytes) -> Entry:
        """Note that an attempt has begun; return the claim's entry, `interchange` being a hash of what was sent."""
        entry = self._entries.get(interchange)
        if entry is None:
            entry = self._entries[interchange] = Entry(claim_number)
        entry.attempts += 1
        return entry

    def lines(self, at_once: int = 500) -> Iterator[bytes]:
        """Yield the entries as JSON lines, some hundred at a time; entries may be added meanwhile."""
        entries = list(self._entries.values())
        for start in range(0, len(entries), at_once):
            yield b"".join(_ENCODER.encode(entry) + b"\n" for entry in entries[start : start + at_once])
