"""What dead workers were reading in the input folder when they died: noted, learned, counted, and crossed out."""

import json
from collections.abc import Iterable
from pathlib import Path
from threading import Event

import anyio
import pytest

from tests.spools import SpoolFolder, batch, names, take_all
from worker.paths import sight_of
from worker.sources.readiness import ref_of
from worker.x12 import Survey, survey

LIMIT = 5
LARGE = batch(7, claims=20_000)


def ref(spool: SpoolFolder, name: str) -> str:
    return ref_of(sight_of((spool.incoming / name).stat()))


def dead_worker(spool: SpoolFolder, *notes: str, name: str = "dead") -> Path:
    """Leave the folder of a worker that has died with these notes, and give it."""
    folder = spool.root / "work" / name
    folder.mkdir(parents=True)
    (folder / "owner").touch()
    (folder / "reading").write_text("".join(f"{note}\n" for note in notes))
    return folder


def notes(spool: SpoolFolder, worker: str = "tester") -> list[str]:
    path = spool.root / "work" / worker / "reading"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.fault(13)
async def test_what_was_being_read_at_the_last_death_allowed_is_quarantined_unread(spool: SpoolFolder) -> None:
    spool.put("a.837", batch(1))
    spool.put("b.837", batch(2))
    folder = dead_worker(spool, f"{LIMIT} {ref(spool, 'a.837')}")

    async with spool.opened() as source:
        taken = names(await take_all(source))

    assert taken == {"b.837"}
    reason = json.loads(spool.quarantined()["a.837"])
    assert (reason["code"], reason["text"]) == ("poison", f"it was being read at {LIMIT} deaths of a worker in a row")
    assert not folder.exists()


@pytest.mark.fault(13)
@pytest.mark.parametrize("data", [batch(1), LARGE], ids=["small", "large"])
async def test_what_is_read_at_last_is_taken_and_its_deaths_are_forgotten(spool: SpoolFolder, data: bytes) -> None:
    spool.put("a.837", data)
    dead_worker(spool, f"{LIMIT - 1} {ref(spool, 'a.837')}")

    async with spool.opened() as source:
        taken = names(await take_all(source))
        left = notes(spool)

    assert taken == {"a.837"}
    assert left == []


@pytest.mark.fault(13)
async def test_a_file_is_noted_with_one_death_more_while_it_is_read(spool: SpoolFolder) -> None:
    spool.put("a.837", LARGE)
    dead_worker(spool, f"2 {ref(spool, 'a.837')}")
    begun, go_on = Event(), Event()

    def slow_survey(pieces: Iterable[bytes]) -> Survey:
        begun.set()
        go_on.wait(30)
        return survey(pieces)

    async with spool.opened(survey=slow_survey) as source, anyio.create_task_group() as tasks:
        tasks.start_soon(take_all, source)
        await anyio.to_thread.run_sync(begun.wait, 30)
        during = notes(spool)
        go_on.set()

    assert during == [f"3 {ref_of(sight_of(next(spool.root.glob('work/tester/*a.837')).stat()))}"]


@pytest.mark.fault(13)
async def test_the_own_folder_tells_as_well_as_another_s(spool: SpoolFolder) -> None:
    spool.put("a.837", batch(1))
    dead_worker(spool, f"{LIMIT} {ref(spool, 'a.837')}", name="tester")

    async with spool.opened() as source:
        assert await take_all(source) == []

    assert list(spool.quarantined()) == ["a.837"]


@pytest.mark.fault(13)
async def test_a_batch_of_a_dead_worker_is_not_begun_before_a_suspect_is_read(spool: SpoolFolder) -> None:
    spool.put("suspect.837", LARGE)
    folder = dead_worker(spool, f"1 {ref(spool, 'suspect.837')}")
    (folder / "2f-innocent.837").write_bytes(batch(2))
    go_on = Event()

    def slow_survey(pieces: Iterable[bytes]) -> Survey:
        go_on.wait(30)
        return survey(pieces)

    async with spool.opened(survey=slow_survey) as source:
        with anyio.move_on_after(0.5):
            early = await source.take(64)
            pytest.fail(f"begun beside a suspect: {names(early)}")
        entries = spool.held()
        go_on.set()
        taken = names(await take_all(source))

    assert entries == ["2f-innocent.837"]  # without a count: nobody has begun it again
    assert taken == {"suspect.837", "innocent.837"}


@pytest.mark.fault(13)
async def test_suspects_that_are_gone_hold_nothing_back(spool: SpoolFolder) -> None:
    spool.put("b.837", batch(2))
    folder = dead_worker(spool, "1 1:1:1", "not a note", "3", "99999999999 1:2:3")
    (folder / "2f-innocent.837").write_bytes(batch(3))

    async with spool.opened() as source:
        taken = names(await take_all(source))

    assert taken == {"b.837", "innocent.837"}


async def test_small_files_cost_no_notes_where_nobody_died(spool: SpoolFolder) -> None:
    spool.put("a.837", batch(1))

    async with spool.opened() as source:
        taken = names(await take_all(source))
        there = (spool.root / "work/tester/reading").exists()

    assert taken == {"a.837"}
    assert not there


@pytest.mark.fault(13)
async def test_notes_that_cannot_be_written_or_lead_elsewhere_stop_nobody(spool: SpoolFolder, tmp_path: Path) -> None:
    spool.put("a.837", LARGE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(f"{LIMIT} {ref(spool, 'a.837')}\n")
    folder = dead_worker(spool, name="tester")
    (folder / "reading").unlink()
    (folder / "reading").symlink_to(elsewhere)

    async with spool.opened() as source:
        taken = names(await take_all(source))

    assert taken == {"a.837"}
    assert elsewhere.read_text().startswith(str(LIMIT))
