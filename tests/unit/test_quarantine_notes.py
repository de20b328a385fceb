"""The reason of a quarantined file: one for each file, also where a worker has died between writing it and the move."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.sources.moves import open_folder
from worker.sources.shelves import Quarantine

NOTE = "a.837.reason.json"
OURS = json.dumps({"code": "not_x12", "text": "why"}, separators=(",", ":")) + "\n"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    (tmp_path / "quarantine").mkdir()
    (tmp_path / "a.837").write_text("the batch")
    return tmp_path / "quarantine"


@pytest.fixture
def folder(shelf: Path) -> Iterator[int]:
    fd = open_folder(shelf.parent)
    yield fd
    os.close(fd)


def put(shelf: Path, folder: int) -> str:
    fd = open_folder(shelf)
    try:
        return Quarantine(fd).put(folder, "a.837", "a.837", "not_x12", "why")
    finally:
        os.close(fd)


def content(shelf: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in shelf.iterdir()}


@pytest.mark.fault(1)
@pytest.mark.parametrize("written", [len(OURS), len(OURS) - 1, 7, 0])
def test_a_reason_left_without_its_file_is_taken_over_however_much_of_it_is_there(
    shelf: Path, folder: int, written: int
) -> None:
    (shelf / NOTE).write_text(OURS[:written])

    put(shelf, folder)

    assert content(shelf) == {"a.837": "the batch", NOTE: OURS}


@pytest.mark.parametrize("there", ["another reason", OURS + " and more"])
def test_what_says_something_else_is_left_alone(shelf: Path, folder: int, there: str) -> None:
    (shelf / NOTE).write_text(there)

    assert put(shelf, folder) == "a.837.2"
    assert content(shelf) == {NOTE: there, "a.837.2": "the batch", "a.837.2.reason.json": OURS}


@pytest.mark.fault(42)
def test_a_batch_that_is_named_and_reads_like_our_reason_is_left_alone(shelf: Path, folder: int) -> None:
    (shelf / NOTE).write_text(OURS)
    (shelf / f"{NOTE}.reason.json").write_text("why that one is here")

    assert put(shelf, folder) == "a.837.2"
    assert content(shelf)[NOTE] == OURS


def test_the_reason_of_a_file_that_is_there_stays_that_files(shelf: Path, folder: int) -> None:
    (shelf / "a.837").write_text("an earlier batch")
    (shelf / NOTE).write_text(OURS)

    assert put(shelf, folder) == "a.837.2"
    assert content(shelf)["a.837"] == "an earlier batch"


@pytest.mark.fault(50)
def test_the_reason_of_a_living_worker_that_is_about_to_move_its_file_is_left_alone(shelf: Path, folder: int) -> None:
    (shelf / NOTE).write_text(OURS)

    with (shelf / NOTE).open("rb") as another:
        fcntl.flock(another, fcntl.LOCK_EX)
        target = put(shelf, folder)

    assert target == "a.837.2"


@pytest.mark.fault(38)
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_left_alone(shelf: Path, folder: int, make: Callable[[Path], None]) -> None:
    make(shelf / NOTE)

    assert put(shelf, folder) == "a.837.2"
