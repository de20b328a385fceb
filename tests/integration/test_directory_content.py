"""Files whose content can never be sent, or is very large (failures.md, 52 to 55)."""

import os
import resource
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


@pytest.fixture
def spool(tmp_path: Path) -> SpoolFolder:
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def clock() -> Clock:
    return Clock()


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


@pytest.mark.fault(54)
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (batch()[:80] + batch()[90:], "isa_width"),
        (batch().replace(b"IEA*1*000000001", b"IEA*1*000000002"), "control_number_mismatch"),
        (batch(claims=0), "no_claims"),
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
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async with spool.opened() as source:
        with anyio.fail_after(5):
            assert await take_all(source) == []

    assert '"code":"too_large"' in spool.quarantined()["huge.837"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.fault(55)
async def test_a_large_file_is_delivered_as_a_path_and_does_not_delay_a_small_one(spool: SpoolFolder) -> None:
    large = batch(1, claims=60_000)
    surveyed = threading.Event()

    def patient(chunks: Iterable[bytes]) -> Survey:
        pieces = list(chunks)
        if len(pieces) > 1:
            surveyed.wait(10)
        return survey(pieces)

    spool.put("large.837", large)
    async with spool.opened(survey=patient) as source:
        with anyio.move_on_after(0.1):
            await source.take(1)
        spool.put("small.837", batch(2))
        with anyio.fail_after(5):
            (first,) = await source.take(1)
        surveyed.set()
        with anyio.fail_after(20):
            (second,) = await source.take(1)
        path = second.path

        assert (first.name, second.name) == ("small.837", "large.837")
        assert path is not None
        assert path.read_bytes() == large
        assert second.survey is not None
        assert second.survey.claims == 60_000
