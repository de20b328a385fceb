"""File names and moves: shown safely, numbered within limits, never overwritten."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sources.moves import Rename, open_folder, rename_new, rename_reserving
from worker.sources.names import displayed, entry_for, numbered, original_of, passed_over
from worker.sources.shelves import Archive, Quarantine

any_name = st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 47} & set(name)).map(os.fsdecode)


@pytest.mark.fault(59)
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"claims 7.837", "claims 7.837"),
        (b"\xff\xfeclaims", r"\xff\xfeclaims"),
        (b"two\nlines", r"two\nlines"),
        (b"\x1b[31mred", r"\x1b[31mred"),
        ("Ünïcode.837".encode(), "Ünïcode.837"),
        ("right\u202eto left".encode(), r"right\u202eto left"),
    ],
)
def test_a_name_is_shown_on_one_harmless_line(name: bytes, shown: str) -> None:
    assert displayed(os.fsdecode(name)) == shown


@given(any_name)
def test_every_name_can_be_shown_and_encoded(name: str) -> None:
    shown = displayed(name)

    assert shown.isprintable()
    shown.encode()


@given(any_name, st.integers(1, 10_000), st.sampled_from([243, 255]))
def test_numbered_names_fit_and_differ(name: str, number: int, room: int) -> None:
    one, other = numbered(name, number, room=room), numbered(name, number + 1, room=room)

    assert len(os.fsencode(one)) <= room
    assert one != other


@given(any_name, st.integers(1, 2**64 - 1))
def test_the_original_name_can_be_read_from_an_entry(name: str, inode: int) -> None:
    assert original_of(entry_for(inode, name)) == name


@pytest.mark.parametrize("name", [".hidden", "a.tmp", "a.part", ".a.837"])
def test_names_of_files_under_construction_are_passed_over(name: str) -> None:
    assert passed_over(name)


@pytest.mark.parametrize("name", ["a.837", "~a", "-rf", "a.tmp.837", "part"])
def test_other_names_are_not(name: str) -> None:
    assert not passed_over(name)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = open_folder(tmp_path)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("rename", [rename_new, rename_reserving])
def test_a_rename_never_overwrites(rename: Rename, folder: int, tmp_path: Path) -> None:
    (tmp_path / "from").write_text("new")
    (tmp_path / "to").write_text("old")

    with pytest.raises(FileExistsError):
        rename(folder, "from", folder, "to")

    assert ((tmp_path / "from").read_text(), (tmp_path / "to").read_text()) == ("new", "old")


@pytest.mark.parametrize("rename", [rename_new, rename_reserving])
def test_a_rename_to_a_free_name_moves_the_file(rename: Rename, folder: int, tmp_path: Path) -> None:
    (tmp_path / "from").write_text("new")

    rename(folder, "from", folder, "to")

    assert [path.name for path in tmp_path.iterdir()] == ["to"]
    assert (tmp_path / "to").read_text() == "new"


@pytest.mark.parametrize("rename", [rename_new, rename_reserving])
def test_a_rename_of_nothing_leaves_nothing(rename: Rename, folder: int, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rename(folder, "from", folder, "to")

    assert list(tmp_path.iterdir()) == []


def test_the_archive_numbers_files_of_one_name_within_a_day_in_utc(folder: int, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    shelf = open_folder(tmp_path / "archive")
    archive = Archive(shelf)
    got = []

    for moment in (86_399.0, 86_399.5, 86_399.9, 86_400.0):
        (tmp_path / "entry").write_text("x")
        with archive.at(moment) as day:
            got.append(day.put(folder, "entry", "claims.837"))
            day.sync()

    os.close(shelf)
    assert got == ["claims.837", "claims.837.2", "claims.837.3", "claims.837"]
    assert sorted(path.name for path in (tmp_path / "archive").iterdir()) == ["1970-01-01", "1970-01-02"]


def test_a_quarantined_file_of_a_long_name_keeps_company_with_its_reason(folder: int, tmp_path: Path) -> None:
    (tmp_path / "quarantine").mkdir()
    shelf = open_folder(tmp_path / "quarantine")
    name = "n" * 255

    for _ in range(2):
        (tmp_path / name).write_text("x")
        Quarantine(shelf).put(folder, name, name, "not_x12", "why")

    os.close(shelf)
    found = {path.name for path in (tmp_path / "quarantine").iterdir()}
    files = {entry for entry in found if not entry.endswith(".reason.json")}
    assert len(files) == 2
    assert found == files | {f"{file}.reason.json" for file in files}


def test_nothing_is_left_in_quarantine_of_a_file_that_was_gone(folder: int, tmp_path: Path) -> None:
    (tmp_path / "quarantine").mkdir()
    shelf = open_folder(tmp_path / "quarantine")

    with pytest.raises(FileNotFoundError):
        Quarantine(shelf).put(folder, "gone", "gone", "not_x12", "why")

    os.close(shelf)
    assert list((tmp_path / "quarantine").iterdir()) == []
