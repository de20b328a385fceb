"""The folder of acknowledgements: what is in the files, and that nothing is overwritten or left half written."""

import errno
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.disks import remount, small_disk
from worker.claim import Batch
from worker.errors import SettingsError, StateError, StorageFull
from worker.sinks import EdiSink

BATCH = Batch(1, "0123456789abcdef0123", "a.837", 1_700_000_000.0)


def answer(ordinal: int, disposition: str = "accepted", generation: int = 1, *, size: int = 0, **x12: str) -> bytes:
    claim_id = f"{BATCH.batch_id}:{ordinal}"
    named = {"result_id": f"{claim_id}:{generation}", "claim_id": claim_id, "generation": generation}
    filler = {"x12_999": None, "x12_277ca": None, "message": "m" * size}
    return msgspec.json.encode(named | filler | {"disposition": disposition} | x12)


def ack(number: int, note: str = "000", end: str = "~") -> str:
    """Write an interchange of one segment."""
    isa = f"ISA*00*          *00*          *ZZ*PAYER          *ZZ*SENDER         *250115*1200*^*00501*{number:09}*0*T*:"
    return end.join((isa, f"TA1*{number:09}*250115*1200*A*{note}", f"IEA*0*{number:09}", ""))


async def records(*bodies: bytes) -> AsyncIterator[bytes]:
    for body in bodies:
        yield body


async def opened(folder: Path) -> EdiSink:
    sink = EdiSink(folder)
    await sink.open(None)
    return sink


async def completed(folder: Path, *bodies: bytes, batch: Batch = BATCH) -> None:
    sink = await opened(folder)
    try:
        await sink.complete(batch, records(*bodies))
    finally:
        await sink.close()


def held(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def summary(folder: Path, stem: str = BATCH.batch_id) -> dict[str, object]:
    return msgspec.json.decode((folder / f"{stem}.summary.json").read_bytes(), type=dict[str, object])


async def test_acknowledgements_stand_one_a_line_in_order_of_the_claims(tmp_path: Path) -> None:
    await completed(
        tmp_path / "edi",
        answer(1, x12_999=ack(1), x12_277ca=ack(3)),
        answer(2, "rejected", x12_999=ack(2) + "\n"),
        answer(3, "undelivered"),
    )

    found = held(tmp_path / "edi")
    assert found[f"{BATCH.batch_id}.999"] == ack(1) + "\n" + ack(2) + "\n"
    assert found[f"{BATCH.batch_id}.277ca"] == ack(3) + "\n"
    assert len(found) == 3
    assert summary(tmp_path / "edi") == {
        "schema": 1,
        "batch_id": BATCH.batch_id,
        "batch_name": "a.837",
        "claims": 3,
        "replayed": 0,
        "dispositions": {"accepted": 1, "rejected": 1, "undelivered": 1},
        "without_acknowledgement": [f"{BATCH.batch_id}:3"],
    }


@pytest.mark.parametrize(
    "torn",
    [
        ack(2)[:-1],
        ack(2)[:150],
        ack(2) + "ISA*00*",
        ack(2) + "garbage",
        "garbage" + ack(2),
        ack(2)[:-1] + "*garbage",
        "N/A",
        ack(2) + ack(3)[:120],
        ack(2) + "junk~" + ack(3),
    ],
)
async def test_what_is_torn_spoils_no_file_of_whole_interchanges(tmp_path: Path, torn: str) -> None:
    bodies = [
        answer(1, x12_277ca=ack(1)),
        answer(2, x12_277ca=torn, x12_999=torn),
        answer(3, x12_277ca=ack(3, end="|")),
    ]

    await completed(tmp_path, *bodies)

    found = held(tmp_path)
    assert found[f"{BATCH.batch_id}.277ca"] == ack(1) + "\n" + ack(3, end="|") + "\n"
    assert found[f"{BATCH.batch_id}.torn"] == torn + "\n" + torn + "\n"
    assert set(found) == {f"{BATCH.batch_id}.{ending}" for ending in ("277ca", "torn", "summary.json")}
    assert summary(tmp_path)["without_acknowledgement"] == []


@pytest.mark.parametrize("end", ["~", "~\n", "~\r\n", "\n", "\r\n"])
async def test_whole_interchanges_stand_as_they_came(tmp_path: Path, end: str) -> None:
    received = ack(1, end=end) + ack(2, end=end)

    await completed(tmp_path, answer(1, x12_999=received), answer(2, x12_999="\ufeff " + received))

    assert (tmp_path / f"{BATCH.batch_id}.999").read_bytes().decode().count(received) == 2


async def test_a_batch_of_many_claims_is_written_in_portions(tmp_path: Path) -> None:
    await completed(tmp_path, *(answer(n, x12_999=ack(n)) for n in range(1, 1001)))

    expected = "".join(ack(n) + "\n" for n in range(1, 1001))
    assert (tmp_path / f"{BATCH.batch_id}.999").read_text() == expected
    assert summary(tmp_path)["claims"] == 1000


async def test_without_any_acknowledgement_there_is_only_the_summary(tmp_path: Path) -> None:
    await completed(tmp_path, answer(1, "undelivered"), answer(2, "review", x12_999=""))

    assert set(held(tmp_path)) == {f"{BATCH.batch_id}.summary.json"}


async def test_files_are_closed_to_others(tmp_path: Path) -> None:
    await completed(tmp_path / "out" / "edi", answer(1, x12_999=ack(1)))

    assert stat.S_IMODE((tmp_path / "out" / "edi").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out" / "edi").iterdir()} == {0o600}


async def test_a_repeated_completion_changes_nothing(tmp_path: Path) -> None:
    await completed(tmp_path, answer(1, x12_999=ack(1)))
    before = inodes(tmp_path)

    await completed(tmp_path, answer(1, x12_999=ack(1)))

    assert inodes(tmp_path) == before


async def test_what_a_crash_left_out_is_made_up_for(tmp_path: Path) -> None:
    await completed(tmp_path, answer(1, x12_999=ack(1), x12_277ca=ack(2)))
    whole = held(tmp_path)
    (tmp_path / f"{BATCH.batch_id}.277ca").unlink()
    (tmp_path / f"{BATCH.batch_id}.summary.json").unlink()
    (tmp_path / f".{BATCH.batch_id}.277ca.draft").write_text("ISA*ha")

    await completed(tmp_path, answer(1, x12_999=ack(1), x12_277ca=ack(2)))

    assert held(tmp_path) == whole


@pytest.mark.fault(42)
@pytest.mark.parametrize("content", ["", ack(9) + "\n", ack(1) + "\n" + ack(1) + "\n"])
async def test_a_file_of_other_content_is_never_overwritten(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{BATCH.batch_id}.999").write_text(content)

    with pytest.raises(StateError, match=rf"{BATCH.batch_id}\.999 is already there with other content"):
        await completed(tmp_path, answer(1, x12_999=ack(1)))

    assert held(tmp_path) == {f"{BATCH.batch_id}.999": content}


@pytest.mark.fault(42)
async def test_a_symlink_of_that_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "edi").mkdir()
    (tmp_path / "elsewhere").write_text(ack(1) + "\n")
    (tmp_path / "edi" / f"{BATCH.batch_id}.999").symlink_to(tmp_path / "elsewhere")

    with pytest.raises((StateError, SettingsError)):
        await completed(tmp_path / "edi", answer(1, x12_999=ack(1)))


async def test_a_replay_makes_new_files_beside_the_old_ones(tmp_path: Path) -> None:
    await completed(tmp_path, answer(1, x12_999=ack(1)), answer(2, "undelivered"))
    await completed(tmp_path, answer(1, x12_999=ack(1)), answer(2, generation=2, x12_999=ack(2)))

    found = held(tmp_path)
    assert found[f"{BATCH.batch_id}.999"] == ack(1) + "\n"
    assert found[f"{BATCH.batch_id}.r1.999"] == ack(1) + "\n" + ack(2) + "\n"
    assert summary(tmp_path)["dispositions"] == {"accepted": 1, "undelivered": 1}
    assert summary(tmp_path, f"{BATCH.batch_id}.r1")["dispositions"] == {"accepted": 2}


@pytest.mark.fault(59)
@pytest.mark.parametrize("batch_id", ["../x", "", ".hidden", "a/b", "a b", "-x", "a" * 200, "a\n"])
async def test_no_other_name_than_a_safe_one_becomes_a_path(tmp_path: Path, batch_id: str) -> None:
    with pytest.raises(StateError, match="not safe"):
        await completed(tmp_path / "edi", answer(1), batch=Batch(1, batch_id, "n", 0.0))

    assert held(tmp_path / "edi") == {}


@pytest.mark.fault(27)
async def test_a_full_disk_leaves_no_part_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    bodies = [answer(n, x12_999=ack(n, "9" * 900)) for n in range(200)]
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        sink = await opened(disk)
        for _ in range(2):
            with pytest.raises(StorageFull):
                await sink.complete(BATCH, records(*bodies))
            assert held(disk) == {}

        remount(disk, "size=2m")
        await sink.complete(BATCH, records(*bodies))
        await sink.close()

        assert summary(disk)["claims"] == 200


async def test_a_draft_that_could_not_be_removed_is_in_nobodys_way(tmp_path: Path) -> None:
    sink = await opened(tmp_path)
    (tmp_path / f".{BATCH.batch_id}.999.draft").write_text("ISA*ha")

    await sink.complete(BATCH, records(answer(1, x12_999=ack(1))))
    await sink.close()

    assert held(tmp_path)[f"{BATCH.batch_id}.999"] == ack(1) + "\n"


@pytest.mark.fault(39)
async def test_drafts_are_made_beside_their_target_whatever_disk_that_is_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "edi", "size=1m") as disk:
        await completed(disk, answer(1, x12_999=ack(1)))

        assert held(disk)[f"{BATCH.batch_id}.999"] == ack(1) + "\n"


@pytest.mark.fault(36)
async def test_a_disk_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k,ro") as disk, pytest.raises(StateError, match="EROFS"):
        await opened(disk)


@pytest.mark.fault(38)
@pytest.mark.parametrize("kind", ["file", "fifo"])
async def test_a_folder_that_is_none_is_a_wrong_setting(tmp_path: Path, kind: str) -> None:
    (tmp_path / "edi").touch() if kind == "file" else os.mkfifo(tmp_path / "edi")

    with pytest.raises(SettingsError, match="not a folder"):
        await opened(tmp_path / "edi")


async def test_an_interrupted_completion_leaves_no_draft(tmp_path: Path) -> None:
    async def breaking_off() -> AsyncIterator[bytes]:
        for n in range(300):
            yield answer(n, x12_999=ack(n))
        raise OSError(errno.EIO, "the reader's trouble")

    sink = await opened(tmp_path)
    with pytest.raises(OSError, match="trouble"):
        await sink.complete(BATCH, breaking_off())
    await sink.close()

    assert held(tmp_path) == {}
