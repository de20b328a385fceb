"""How many files wait in the input folder, and how many were set aside, is told to who asks beside a worker."""

import os
from pathlib import Path

from worker.sources.counting import FolderCounts, count_files


def counted(root: Path) -> tuple[int | None, int | None]:
    found = count_files(root / "in")
    return found.waiting, found.quarantined


def test_what_is_meant_for_the_worker_is_counted_as_waiting(tmp_path: Path) -> None:
    (tmp_path / "in/folder.837").mkdir(parents=True)
    os.mkfifo(tmp_path / "in/fifo.837")
    (tmp_path / "in/link.837").symlink_to("a.837")
    for name in ("a.837", "b\n.837", ".hidden", "c.tmp", "d.part"):
        (tmp_path / "in" / name).touch()

    assert counted(tmp_path) == (2, 0)


def test_set_aside_are_batches_and_no_reasons_whatever_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "quarantine").mkdir()
    for name in ("a.837", "b.reason.json"):
        (tmp_path / "quarantine" / name).touch()
        (tmp_path / "quarantine" / f"{name}.reason.json").touch()

    assert counted(tmp_path) == (0, 2)


def test_what_cannot_be_looked_at_is_not_told_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    (tmp_path / "quarantine").touch()

    found = count_files(tmp_path / "in")

    assert found == FolderCounts(str(tmp_path / "in"), None, str(tmp_path / "quarantine"), None)
