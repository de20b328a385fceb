"""The results file set aside by the worker itself: when, under which name, and that no position is lost by it."""

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.disks import remount, small_disk
from tests.integration.test_jsonl_file import emissions, lines
from worker.errors import SettingsError, StateError, StorageFull
from worker.sinks import JsonlSink, from_url
from worker.sinks.rotation import NO_ROTATION, Rotation, parse_rotation

SMALL = Rotation(at_bytes=250)  # two of the records of these tests
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
DAY_S = 86_400.0


async def opened(path: Path, cursor: str | None = None, rotation: Rotation = SMALL) -> JsonlSink:
    sink = JsonlSink(path, rotation)
    await sink.open(cursor)
    return sink


async def written(path: Path, *seqs: int, cursor: str | None = None, rotation: Rotation = SMALL) -> str | None:
    sink = await opened(path, cursor, rotation)
    for seq in seqs:
        cursor = await sink.write(emissions(seq))
    await sink.close()
    return cursor


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


def contents(path: Path) -> list[bytes]:
    return [each.read_bytes() for each in (*aside(path), path)]


@pytest.mark.parametrize(
    ("query", "rotation"),
    [
        ("", NO_ROTATION),
        ("rotate=daily", Rotation(daily=True)),
        ("rotate=5000", Rotation(at_bytes=5000)),
        ("rotate=10kB", Rotation(at_bytes=10_000)),
        ("rotate=100MB", Rotation(at_bytes=100_000_000)),
        ("rotate=2GB", Rotation(at_bytes=2_000_000_000)),
    ],
)
def test_what_the_url_may_say(query: str, rotation: Rotation) -> None:
    assert parse_rotation(query) == rotation


@pytest.mark.parametrize(
    "query", ["rotate", "rotate=", "rotate=0", "rotate=-1", "rotate=1TB", "rotate=1.5GB", "rotate=weekly", "x=1", "?"]
)
def test_what_else_it_says_is_a_wrong_setting(query: str) -> None:
    with pytest.raises(SettingsError, match="rotate=100MB"):
        from_url(f"jsonl:results.jsonl?{query}")


def test_a_size_that_holds_no_result_is_taken_for_one_without_its_unit() -> None:
    with pytest.raises(SettingsError, match=r"rotate=10 is a file of 10 bytes, .* as in rotate=100MB"):
        from_url("jsonl:results.jsonl?rotate=10")

    assert parse_rotation("rotate=1kB") == Rotation(at_bytes=1_000)


async def test_a_file_that_is_large_enough_is_set_aside_before_the_next_result(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"

    with capture_logs() as logs:
        await written(path, *range(1, 8))

    assert contents(path) == [lines(1, 2), lines(3, 4), lines(5, 6), lines(7)]
    assert [log["event"] for log in logs] == ["sink.rotated"] * 3
    assert {each.stat().st_mode & 0o777 for each in (*aside(path), path)} == {0o600}
    assert all(re.fullmatch(r"results-\d{8}T\d{6}\.\d{3}Z\.jsonl", each.name) for each in aside(path))


async def test_results_written_together_stay_together(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = await opened(path)

    await sink.write(emissions(1, 2, 3, 4))
    await sink.write(emissions(5))
    await sink.close()

    assert contents(path) == [lines(1, 2, 3, 4), lines(5)]


async def test_a_day_has_its_file_whose_name_tells_it(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    now = NOON

    sink = JsonlSink(path, Rotation(daily=True), clock=lambda: now)
    await sink.open(None)
    await sink.write(emissions(1))
    now += DAY_S / 2 - 1
    await sink.write(emissions(2))
    now += 1
    await sink.write(emissions(3))
    await sink.close()

    assert contents(path) == [lines(1, 2), lines(3)]
    assert [each.name for each in aside(path)] == ["results-20261124T235959.000Z.jsonl"]


async def test_a_worker_that_starts_on_another_day_sets_the_old_file_aside(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1, rotation=Rotation(daily=True))
    os.utime(path, (NOON, NOON))

    await written(path, 2, cursor=cursor, rotation=Rotation(daily=True))

    assert contents(path) == [lines(1), lines(2)]
    assert [each.name for each in aside(path)] == ["results-20261124T120000.000Z.jsonl"]


@pytest.mark.fault(65)
async def test_a_clock_that_jumps_back_costs_neither_order_nor_a_file(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    now = NOON
    sink = JsonlSink(path, SMALL, clock=lambda: now)
    await sink.open(None)
    for seq in range(1, 10):
        await sink.write(emissions(seq))
        now += -10 * 365 * DAY_S if seq == 4 else 0.0
    await sink.close()

    assert contents(path) == [lines(1, 2), lines(3, 4), lines(5, 6), lines(7, 8), lines(9)]


async def test_a_position_is_found_again_in_whichever_file_it_is(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = await opened(path)
    cursors = [None, *[await sink.write(emissions(seq)) for seq in range(1, 8)]]
    await sink.close()
    before = contents(path)

    for reached, cursor in enumerate(cursors):
        again = await opened(path, cursor)
        await again.write(emissions(*range(reached + 1, 8)))
        await again.close()

    assert contents(path) == before


async def test_a_lost_ledger_beside_files_set_aside_makes_nothing_twice_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    await written(path, *range(1, 8))

    cursor = await written(path, 3, 8, cursor=None)
    cursor = await written(path, 1, 2, 4, cursor=cursor)
    await written(path, *range(5, 11), cursor=cursor)

    assert b"".join(contents(path)) == lines(*range(1, 11))


@pytest.mark.parametrize("gone", [1, 3])
async def test_files_set_aside_may_be_taken_away(tmp_path: Path, gone: int) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, *range(1, 8))
    for each in aside(path)[:gone]:
        each.unlink()

    await written(path, 8, 9, cursor=cursor)

    assert b"".join(contents(path)) == lines(*range(2 * gone + 1, 10))


async def test_the_file_of_the_position_may_not_be_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1)
    await written(path, 2, 3, cursor=cursor)
    aside(path)[0].unlink()

    with pytest.raises(StateError, match="not the file we left"):
        await opened(path, cursor)


async def test_rotation_may_be_switched_on_off_and_mixed_with_that_of_others(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1, 2, 3, 4, rotation=NO_ROTATION)
    cursor = await written(path, 5, 6, 7, cursor=cursor)
    path.rename(tmp_path / "results.jsonl.1")
    cursor = await written(path, 8, 9, cursor=cursor)
    cursor = await written(path, 10, 11, cursor=cursor, rotation=NO_ROTATION)

    assert contents(path) == [lines(1, 2, 3, 4), lines(5, 6), lines(8, 9, 10, 11)]
    assert (tmp_path / "results.jsonl.1").read_bytes() == lines(7)


async def test_what_looks_alike_is_not_taken_for_one_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for name in ("results-old.jsonl", "results-20261124T120000.000Z.jsonl.gz", "other-20261124T120000.000Z.jsonl"):
        (tmp_path / name).write_text("no result\n")

    await written(path, 1, 2)

    assert path.read_bytes() == lines(1, 2)


@pytest.mark.fault(38)
async def test_a_symlink_that_looks_like_one_set_aside_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    (tmp_path / "elsewhere").write_bytes(lines(1))
    (tmp_path / "results-20261124T120000.000Z.jsonl").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SettingsError, match="not a regular file"):
        await opened(path)


@pytest.mark.fault(42)
async def test_no_file_is_overwritten_by_one_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    theirs = tmp_path / "results-20261124T120000.000Z.jsonl"
    theirs.write_bytes(lines(77))
    sink = JsonlSink(path, SMALL, clock=lambda: NOON)
    await sink.open(None)

    for seq in range(1, 4):
        await sink.write(emissions(seq))
    await sink.close()

    assert theirs.read_bytes() == lines(77)
    assert [each.name for each in aside(path)] == [theirs.name, "results-20261124T120000.001Z.jsonl"]


@pytest.mark.fault(29)
async def test_without_inodes_for_a_new_file_the_old_one_is_kept_until_there_are_some(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m,nr_inodes=3") as disk:
        (disk / "theirs").touch()
        path = disk / "results.jsonl"
        sink = await opened(path)
        await sink.write(emissions(1))
        await sink.write(emissions(2))

        for _ in range(2):
            with pytest.raises(StorageFull):
                await sink.write(emissions(3))
            assert contents(path) == [lines(1, 2)]
        remount(disk, "nr_inodes=20")
        await sink.write(emissions(3))
        await sink.close()

        assert contents(path) == [lines(1, 2), lines(3)]


async def test_the_new_file_is_held_as_the_old_one_was(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = await opened(path)
    for seq in range(1, 4):
        await sink.write(emissions(seq))

    with pytest.raises(StateError, match="held by another process"):
        await opened(path)
    await sink.close()


@pytest.mark.fault(40)
async def test_a_new_file_that_is_moved_away_is_noticed_before_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    sink = await opened(path)
    for seq in range(1, 4):
        await sink.write(emissions(seq))
    shutil.move(path, tmp_path / "gone")

    with pytest.raises(StateError, match="moved or deleted"):
        await sink.write(emissions(4))
    await sink.close()

    assert (tmp_path / "gone").read_bytes() == lines(3)


@pytest.mark.parametrize("rotation", [SMALL, NO_ROTATION])
async def test_a_file_that_a_crash_left_with_two_names_is_not_written_to(tmp_path: Path, rotation: Rotation) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1)
    (tmp_path / "results-20261124T120000.000Z.jsonl").hardlink_to(path)

    await written(path, 2, cursor=cursor, rotation=rotation)

    assert contents(path) == [lines(1), lines(2)]
