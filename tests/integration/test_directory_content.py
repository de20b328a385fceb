"""Files whose content can never be sent, or is very large (failures.md, 52 to 55)."""

import json
import os
import stat
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.spools import Clock, SpoolFolder, batch, take_all
from worker.claim import Delivery
from worker.x12 import Survey, survey


@pytest.mark.fault(52)
@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\xef\xbb\xbf", b" \r\n\t "], ids=["nothing", "newline", "BOM", "blanks"]
)
async def test_an_empty_file_is_quarantined_once_it_was_unchanged_for_five_seconds(
    spool: SpoolFolder, clock: Clock, data: bytes
) -> None:
    spool.put("empty.837", data)
    async with spool.opened(monotonic=clock) as source:
        with anyio.move_on_after(0.2):
            await source.take(1)
        before = spool.quarantined()
        clock.ahead_s += 5

        assert await take_all(source) == []

    assert before == {}
    assert '"code":"empty_input"' in spool.quarantined()["empty.837"]


FOREIGN = {
    "gzip": b"\x1f\x8b\x08\x00CANARY",
    "zip": b"PK\x03\x04CANARY",
    "PDF": b"%PDF-1.7 CANARY",
    "UTF-16": b"\xff\xfe" + "ISA*00*CANARY".encode("utf-16-le"),
    "NUL bytes": b"\x00" * 300 + b"CANARY",
    "0xFF": b"\xff" * 300 + b"CANARY",
}


@pytest.mark.fault(53)
@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN.keys())
async def test_a_file_that_is_not_x12_is_quarantined_and_its_bytes_are_not_logged(
    spool: SpoolFolder, clock: Clock, data: bytes
) -> None:
    spool.put("foreign.edi", data)
    async with spool.opened(monotonic=lambda: 100 * clock()) as source:
        with capture_logs() as logs:
            assert await take_all(source) == []

    assert '"code":"not_x12"' in spool.quarantined()["foreign.edi"]
    assert [line["event"] for line in logs] == ["input.quarantined"]
    assert "CANARY" not in str(logs) + str(spool.quarantined())


async def deliver_and_settle(spool: SpoolFolder) -> list[Delivery]:
    async with spool.opened(ready="renamed") as source:
        found = await take_all(source)
        await source.settle(found)
        return found


@pytest.mark.fault(53)
@pytest.mark.fault(54)
@given(
    data=st.one_of(st.binary(max_size=400), st.integers(0, 300).map(lambda at: batch()[:at] + b"\x00" + batch()[at:]))
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_bytes_the_file_is_delivered_whole_or_quarantined(tmp_path: Path, data: bytes) -> None:
    spool = SpoolFolder(tmp_path / f"{time.monotonic_ns()}")
    spool.put("any.837", data)

    found = anyio.run(deliver_and_settle, spool)

    assert [delivery.data for delivery in found] in ([], [data])
    assert len(spool.archived()) + len(spool.quarantined()) == 1


# What is done to a sound file: cut out, put twice, put elsewhere, overwritten, at some place and over some length.
DAMAGE = st.tuples(
    st.sampled_from(["cut", "double", "move", "overwrite"]),
    st.integers(0, 700),
    st.integers(1, 200),
    st.sampled_from([b"~", b"*", b":", b"\x00", b"\xff", b"ISA", b"IEA*1*000000001~", b"\r\n", b""]),
)


def damaged(data: bytes, how: str, at: int, length: int, other: bytes) -> bytes:
    before, piece, after = data[:at], data[at : at + length], data[at + length :]
    return {
        "cut": before + after,
        "double": before + piece + piece + after,
        "move": after + piece + before,
        "overwrite": before + other + after,
    }[how]


@pytest.mark.fault(54)
@given(damages=st.lists(DAMAGE, min_size=1, max_size=3), claims=st.integers(1, 3))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_a_sound_file_is_damaged_it_ends_whole_or_in_quarantine_and_the_same_way_twice(
    tmp_path: Path, damages: list[tuple[str, int, int, bytes]], claims: int
) -> None:
    data = batch(1, claims=claims) + batch(2)
    for damage in damages:
        data = damaged(data, *damage)
    ends = []
    for _ in range(2):
        spool = SpoolFolder(tmp_path / f"{time.monotonic_ns()}")
        spool.put("any.837", data)
        found = anyio.run(deliver_and_settle, spool)
        assert [delivery.data for delivery in found] in ([], [data])
        ends.append((len(spool.archived()), list(spool.quarantined().values())))

    assert ends[0] == ends[1]
    assert ends[0][0] + len(ends[0][1]) == 1
    for reason in ends[0][1]:
        assert set(json.loads(reason)) == {"code", "text"}


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    "data",
    [
        batch().replace(b"~", b"~\r\n"),
        batch().replace(b"~", b"~\n"),
        batch().replace(b"~", b"\n"),
        batch()[:-1].replace(b"~", b"~\n") + b"~",
        batch() + b"\r\n\r\n",
        batch(1) + b"\n" + batch(2) + batch(3),
        batch() + b"*** END OF FILE ***",
    ],
    ids=["CRLF", "LF", "newline as terminator", "no last newline", "blank lines after", "several", "a banner after"],
)
async def test_the_usual_forms_of_a_sound_file_are_delivered_as_they_are(spool: SpoolFolder, data: bytes) -> None:
    spool.put("sound.837", data)
    async with spool.opened(ready="renamed") as source:
        (delivery,) = await take_all(source)

    assert delivery.data == data
    assert spool.quarantined() == {}


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (batch()[:80] + batch()[90:], "isa_width"),
        (batch().replace(b"IEA*1*000000001", b"IEA*1*000000002"), "control_number_mismatch"),
        (batch(claims=0), "no_claims"),
        (batch().replace(b"*", b"~"), "isa_width"),
        (batch().replace(b":", b"*"), "isa_width"),
    ],
)
async def test_an_unusable_interchange_is_quarantined_at_once_with_a_stable_code(
    spool: SpoolFolder, data: bytes, code: str
) -> None:
    spool.put("bad.837", data)
    async with spool.opened() as source:
        assert await take_all(source) == []

    assert f'"code":"{code}"' in spool.quarantined()["bad.837"]
    assert stat.S_IMODE((spool.root / "quarantine" / "bad.837.reason.json").stat().st_mode) == 0o600


@pytest.mark.fault(55)
async def test_a_sparse_file_of_100_gb_is_refused_unread(spool: SpoolFolder) -> None:
    with (spool.incoming / "huge.837").open("wb") as file:
        try:
            os.truncate(file.fileno(), 100 << 30)
        except OSError:
            pytest.skip("this file system has no files of 100 GB")
    read: list[Iterable[bytes]] = []

    def noted(chunks: Iterable[bytes]) -> Survey:
        read.append(chunks)
        return Survey(complete=False)

    async with spool.opened(survey=noted) as source:
        with anyio.fail_after(60):
            assert await take_all(source) == []

    assert '"code":"too_large"' in spool.quarantined()["huge.837"]
    assert read == []


@pytest.mark.fault(55)
async def test_a_large_file_is_delivered_as_a_path_and_does_not_delay_a_small_one(spool: SpoolFolder) -> None:
    large = batch(1, claims=60_000)
    surveyed = threading.Event()

    def patient(chunks: Iterable[bytes]) -> Survey:
        pieces = list(chunks)
        if len(pieces) > 1:
            surveyed.wait(60)
        return survey(pieces)

    spool.put("large.837", large)
    async with spool.opened(survey=patient) as source:
        with anyio.move_on_after(0.1):
            await source.take(1)
        spool.put("small.837", batch(2))
        with anyio.fail_after(30):
            (first,) = await source.take(1)
        surveyed.set()
        with anyio.fail_after(30):
            (second,) = await source.take(1)
        path = second.path

        assert (first.name, second.name) == ("small.837", "large.837")
        assert path is not None
        assert path.read_bytes() == large
        assert second.survey is not None
        assert second.survey.claims == 60_000
