"""What this worker holds has its way out, although another folder has come in the place of the one it was taken in."""

import time
from pathlib import Path

import pytest

from worker.sources.holdings import Holdings
from worker.sources.spool import Spool
from worker.sources.takeover import NoHeir
from worker.sources.workfolder import Held


def test_a_folder_that_came_back_and_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "in").mkdir(parents=True)
    first, second = Spool(tmp_path / "first/in", "worker"), Spool(tmp_path / "second/in", "worker")
    holdings = Holdings(first, time.time, 5, NoHeir())
    (tmp_path / "first/work/worker/2a-batch.837").write_text("ISA")
    holdings.hold("ref", Held("2a-batch.837", "batch.837"))
    second.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        holdings.use(second)
    holdings.settle(["ref"])

    assert [path.name for path in (tmp_path / "first/archive").rglob("*.837")] == ["batch.837"]
    first.close()
