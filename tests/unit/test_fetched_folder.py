"""Where a worker keeps what it fetches."""

from pathlib import Path

import pytest

from worker.brokers.fetched import fetched_folder
from worker.settings import InputSettings


@pytest.mark.parametrize(
    ("chosen", "state", "worker", "folder"),
    [
        ("", "sqlite:spool/state/ledger.db", "host", "spool/state/ledger.db.fetched"),
        ("", "postgresql://worker@db/claims", "worker-1", "spool/fetched/worker-1"),
        ("", "postgresql://worker@db/claims", "../../etc", "spool/fetched/_._.._etc"),
        ("", "postgresql://worker@db/claims", "..", "spool/fetched/_."),
        ("elsewhere", "sqlite:spool/state/ledger.db", "host", "elsewhere"),
        ("elsewhere", "postgresql://worker@db/claims", "host", "elsewhere"),
    ],
)
def test_the_folder_is_the_one_that_was_set_or_the_workers_own(
    chosen: str, state: str, worker: str, folder: str
) -> None:
    assert fetched_folder(InputSettings(fetch_folder=chosen), state, worker) == Path(folder).absolute()
