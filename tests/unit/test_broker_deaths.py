"""The poison counter survives the death of the worker that keeps it, and finds the one among many that kills."""

import contextlib
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from worker.brokers.deaths import Deaths, deaths_file
from worker.errors import SourceUnavailable
from worker.sources.suspects import HARD_FACTOR, Suspects

pytestmark = pytest.mark.fault(109)


async def counted(file: Path, ref: str) -> int:
    deaths = Deaths(file)
    await deaths.open()
    try:
        return deaths.of(ref)
    finally:
        deaths.close()


async def test_what_is_begun_is_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "state/attempts"
    deaths = Deaths(file)
    await deaths.open()

    await deaths.begin(["a"])

    assert await counted(file, "a") == 2  # one before it was noted, for it came again
    assert file.stat().st_mode & 0o077 == 0
    deaths.close()


async def test_a_message_given_back_alive_is_forgiven_and_a_settled_one_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "attempts"
    deaths = Deaths(file)
    await deaths.open()
    await deaths.begin(["a", "b"])
    await deaths.begin(["a", "b"])

    await deaths.forgive(["a", "unknown"])
    await deaths.forget(["b", "unknown"])
    deaths.close()

    assert [await counted(file, ref) for ref in "ab"] == [2, 1]


async def test_deaths_count_anew_once_claims_were_answered_between_them(tmp_path: Path) -> None:
    answers = {"a": 3}

    async def answered(refs: Sequence[str]) -> dict[str, int]:
        return {ref: answers[ref] for ref in refs if ref in answers}

    async def died_again() -> list[int]:
        deaths = Deaths(tmp_path / "attempts", answers=answered)
        await deaths.open()
        await deaths.learn(["a", "b"])
        counts = [deaths.of("a"), deaths.of("b")]
        await deaths.begin(["a", "b"])
        deaths.close()
        return counts

    without = [await died_again() for _ in range(3)]
    answers["a"] = 4
    after = [await died_again() for _ in range(2)]

    assert without == [[1, 1], [2, 2], [3, 3]]
    assert after == [[1, 4], [2, 5]]


async def test_notes_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "attempts")) as db, db:
        db.execute("CREATE TABLE attempts (ref TEXT PRIMARY KEY, count INTEGER, noted_at REAL)")
        db.execute("INSERT INTO attempts VALUES ('a', 3, ?)", (time.time(),))

    assert await counted(tmp_path / "attempts", "a") == 3


async def test_what_cannot_be_noted_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "attempts").mkdir()
    deaths = Deaths(tmp_path / "attempts")

    with pytest.raises(SourceUnavailable, match="cannot note what is in work"):
        await deaths.open()
    with pytest.raises(SourceUnavailable):
        await deaths.begin(["a"])


def test_the_counter_stands_beside_a_ledger_that_is_a_file() -> None:
    assert deaths_file("sqlite:spool/ledger.db") == Path("spool/ledger.db.attempts").absolute()
    assert deaths_file("postgresql://host/db") is None


def test_the_killer_among_a_hundred_ends_alone_and_the_innocent_end_well() -> None:
    deaths: dict[str, int] = {f"{n}": 1 for n in range(100)}
    killer, rounds, buried = "57", 0, []

    while deaths and rounds < 100:
        rounds += 1
        suspects = Suspects(limit=5)  # a new worker, as after a death
        for ref, count in list(deaths.items()):
            if suspects.add(ref, count, count + 1) is not None:
                buried.append(ref)
                del deaths[ref]
        while out := suspects.next():
            if killer in out:
                deaths.update({ref: deaths[ref] + 1 for ref in out})
                break
            for ref in out:
                suspects.drop(ref)
                del deaths[ref]

    assert buried == [killer]
    assert deaths == {}


def test_a_message_delivered_endlessly_ends_although_nobody_counted() -> None:
    suspects = Suspects(limit=5)

    assert suspects.add("a", 1, HARD_FACTOR * 5) is None
    assert "delivered 101 times" in (suspects.add("b", 1, HARD_FACTOR * 5 + 1) or "")
