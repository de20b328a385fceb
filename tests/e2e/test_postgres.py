"""PostgreSQL as a user meets it: what is missing is told with what creates it, before any input is touched."""

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.harness import Site, wait_until
from tests.e2e.test_whole_path import put
from tests.postgres import Table
from tests.processes import free_port

pytestmark = pytest.mark.fault(43)


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.remove()


def outputs_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.split()[1] == "output"]


def test_a_missing_table_ends_the_start_and_create_makes_it(site: Site, table: Table) -> None:
    put(site.inbox, 7)
    site.environ["PRECHECK_OUTPUT__URLS"] = f'["{table.url}"]'

    refused = site.run_once()
    left = len(list(site.inbox.iterdir()))
    checked = site.run("check")
    made = site.run("run", "--once", "--create")
    rechecked = site.run("check")

    assert refused.returncode == 2
    assert b"create it: precheck-worker run --create" in refused.stderr
    assert left == 1
    assert checked.returncode == 2
    assert "create it: precheck-worker run --create" in outputs_of(checked.stdout.decode())[0]
    assert made.returncode == 0, made.stderr.decode()
    assert len(set(table.result_ids())) == len(table.result_ids()) == 7
    assert rechecked.returncode == 0, rechecked.stdout.decode()
    assert outputs_of(rechecked.stdout.decode()) == [f"ok    output    {table.sink().name}"]


def test_a_server_that_is_not_there_is_told_by_check_and_waited_for_by_the_worker(site: Site) -> None:
    port = free_port()
    site.environ["PRECHECK_OUTPUT__URLS"] = f'["postgresql://clerk:hunter2@127.0.0.1:{port}/claims"]'
    put(site.inbox, 3)

    checked = site.run("check")
    run = site.start("run")
    wait_until(lambda: run.has_logged("gate.shut"))
    waited = run.stop(signal.SIGKILL)

    assert checked.returncode == 3
    told = "(connection refused); see whether it runs there, or correct the URL; the worker waits for it"
    assert f"cannot be reached {told}" in outputs_of(checked.stdout.decode())[0]
    assert waited.stdout.count(b'"event":"sink.unavailable"') == 2
    for output in (checked.stdout, checked.stderr, waited.stdout, waited.stderr):
        assert b"hunter2" not in output
