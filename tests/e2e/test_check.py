"""`check` says what is wrong with token, health and clock, and what to do about it."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.disks import remount, small_disk
from tests.e2e.harness import DEADLINE_S, WORKER, Run, Simulator, Site
from tests.e2e.test_whole_path import put
from tests.integration.clients import always
from tests.integration.faultserver import FaultServer, Script
from worker.diagnosis import health_advice, token_advice


def lines_of(done: Run) -> dict[str, str]:
    """Map what was looked at to the whole line, for the lines that say FAIL."""
    lines = done.stdout.decode().splitlines()
    return {line.split()[1]: line for line in lines if line.startswith("FAIL")}


@pytest.mark.fault(76)
@pytest.mark.parametrize(
    ("faults", "what", "told", "code"),
    [
        ({"token_refused": True}, "token", "sandbox or production credentials match the environment", 4),
        ({"bearer_refused": True, "health_down": True}, "health", "raise a service ticket", 2),
        ({"token_page": 1.0}, "token", "no JSON, maybe a page of a proxy or portal", 2),
    ],
    ids=["credentials", "health", "portal"],
)
def test_what_the_service_refuses_is_explained(
    site: Site, own_simulator: Simulator, faults: dict[str, object], what: str, told: str, code: int
) -> None:
    own_simulator.set_faults(**faults)

    done = site.run("check", PRECHECK_API__BASE_URL=own_simulator.origin)

    failed = lines_of(done)
    assert done.returncode == code
    assert told in failed[what]
    assert len(failed) == 1
    assert done.stderr == b""


def test_a_path_that_is_not_there_looks_like_a_lack_of_entitlement_and_both_are_named(
    site: Site, simulator: Simulator
) -> None:
    """The vendor answers 401 to an unknown path, good token or not."""
    done = site.run("check", PRECHECK_API__HEALTH_PATH="/no/such/path")

    assert done.returncode == 4
    assert "not entitled" in lines_of(done)["health"]
    assert "api.health_path" in lines_of(done)["health"]


def test_a_host_that_is_not_there_is_named_with_what_to_look_at(site: Site) -> None:
    done = site.run("check", PRECHECK_API__BASE_URL="http://127.0.0.1:9")

    assert done.returncode == 2
    assert "nobody listens there; look at the host and port in api.base_url" in lines_of(done)["token"]


@pytest.fixture
def late_service(simulator: Simulator) -> Iterator[str]:
    """A service whose clock is an hour ahead of ours."""
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    grant = {"access_token": "t", "token_type": "bearer"}
    yield from serving(always(200, grant, Date=date))


def serving(script: Script) -> Iterator[str]:
    """Serve from a thread while a test runs commands."""
    origins: list[str] = []
    up, done = Event(), Event()

    async def serve() -> None:
        async with FaultServer(script) as server:
            origins.append(server.origin)
            up.set()
            await asyncio.to_thread(done.wait)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(DEADLINE_S)
    yield origins[0]
    done.set()
    thread.join()


def test_a_clock_that_is_wrong_is_told_with_by_how_much(site: Site, late_service: str) -> None:
    done = site.run("check", PRECHECK_API__BASE_URL=late_service)

    failed = lines_of(done)
    assert done.returncode == 2
    assert failed.keys() == {"clock"}
    assert re.search(r" -3[0-9]{3} s against the service", failed["clock"])
    assert "NTP" in failed["clock"]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("token_dns_failed", "DNS"),
        ("token_tls_error", "clock"),
        ("token_proxy_refused", "api.proxy"),
        ("token_http_404", "auth.token_path"),
        ("token_http_302", "never followed"),
        ("token_http_500", "the endpoint fails"),
        ("client_secret_unreadable", "auth.client_secret_file"),
        ("token_anything_else", "auth.token_path"),
    ],
)
def test_each_way_to_have_no_token_says_what_to_look_at(code: str, told: str) -> None:
    assert told in token_advice(code)


@pytest.mark.parametrize(
    ("status", "code", "told", "exit_code"),
    [
        (403, None, "not entitled", 4),
        (404, None, "api.health_path", 2),
        (307, None, "never followed", 2),
        (503, None, "service ticket", 2),
        (None, "tls_error", "api.ca_file", 2),
        (None, "truncated", "service ticket", 2),
    ],
)
def test_each_way_to_be_unwell_says_what_to_look_at(
    status: int | None, code: str | None, told: str, exit_code: int
) -> None:
    advice, asked = health_advice(status, code)

    assert told in advice
    assert asked == exit_code


def limited(site: Site, limits: str, *arguments: str, **environ: str) -> Run:
    shell = ("sh", "-c", f'{limits}; exec "$0" "$@"', sys.executable, "-m", "worker")
    return Run(site, arguments, environ, program=shell)


def test_too_few_open_files_end_the_worker_before_any_input_is_touched(site: Site) -> None:
    put(site.inbox, 3)

    refused = limited(site, "ulimit -n 500", "run", "--once").wait()
    checked = limited(site, "ulimit -n 500", "check").wait()

    assert (refused.returncode, checked.returncode) == (2, 2)
    assert b"flow.max_in_flight: 400 calls at once need 656 open files, and this process may have 500" in refused.stderr
    assert "LimitNOFILE" in lines_of(checked)["files"]
    assert len(list(site.inbox.iterdir())) == 1


@pytest.fixture
def slow_simulator() -> Iterator[Simulator]:
    """Give one that takes half a second, so that all calls that may be under way at once are, on a busy machine too."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.2")
    yield simulator
    simulator.close()


def test_a_soft_limit_on_open_files_is_raised_as_far_as_needed(site: Site, slow_simulator: Simulator) -> None:
    put(site.inbox, 400, magic="OK-")

    done = limited(
        site,
        "ulimit -Sn 90",
        "run",
        "--once",
        PRECHECK_API__BASE_URL=slow_simulator.origin,
        PRECHECK_FLOW__MODE="fixed",
        PRECHECK_FLOW__MAX_IN_FLIGHT="200",
    ).wait()

    assert done.returncode == 0
    assert slow_simulator.get("stats")["max_in_flight"] > 90


def test_a_results_file_that_cannot_be_one_is_named_and_one_that_is_there_is_well(site: Site) -> None:
    (site.root / "results.jsonl").touch()
    (site.root / "folder.jsonl").mkdir()

    well = site.run("check", PRECHECK_OUTPUT__URLS='["jsonl:results.jsonl?rotate=daily"]')
    bad = site.run("check", PRECHECK_OUTPUT__URLS='["jsonl:folder.jsonl"]')

    assert (well.returncode, bad.returncode) == (0, 2)
    assert b"ok    output    results.jsonl\n" in well.stdout
    assert b"FAIL  output    folder.jsonl is no regular file" in bad.stdout


def test_a_look_at_folders_that_are_well_makes_none(site: Site) -> None:
    done = site.run("check")

    assert done.returncode == 0
    assert [path.name for path in site.inbox.parent.iterdir()] == ["in"]


def test_places_that_cannot_be_looked_at_are_named_instead_of_ending_the_check(site: Site) -> None:
    """As where a folder above may not be entered; a name that is too long is so for root as well."""
    long = "x" * 300

    done = site.run(
        "check",
        PRECHECK_INPUT__URL=f"dir:{long}/in",
        PRECHECK_OUTPUT__URLS=f'["jsonl:{long}/r.jsonl", "edi:{long}/edi"]',
        PRECHECK_STATE__URL=f"sqlite:{long}/l.db",
    )

    failed = [line for line in done.stdout.decode().splitlines() if line.startswith("FAIL")]
    assert [line.split()[1] for line in failed] == ["input", "output", "output", "state"]
    assert all("cannot be looked at: File name too long; name another place" in line for line in failed)
    assert done.returncode == 2
    assert done.stderr == b""


def test_a_ledger_that_cannot_be_written_is_told(site: Site) -> None:
    site.run_once()
    site.ledger.chmod(0o400)

    as_others = ("setpriv", "--bounding-set=-dac_override") if os.geteuid() == 0 else ()  # root may write anything
    done = Run(site, ["check"], {}, program=(*as_others, *WORKER)).wait()

    assert "cannot be read and written by this user; chown or chmod it" in lines_of(done)["state"]
    assert done.returncode == 3


@pytest.mark.parametrize("command", ["report --output {}", "submit {}", "inspect {}"])
def test_a_named_path_that_cannot_be_looked_at_is_told(site: Site, command: str) -> None:
    site.run_once()

    done = site.run(*command.format(f"{'x' * 300}/y").split())

    assert done.returncode == 2
    assert b"File name too long" in done.stderr
    assert b"task.failed" not in done.stderr


@pytest.mark.fault(36)
def test_a_file_system_that_is_read_only_is_told_as_that(tmp_path: Path, simulator: Simulator) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        site = Site(disk, simulator.origin)
        site.run_once()
        remount(disk, "ro")

        done = site.run("check")

    failed = [line for line in done.stdout.decode().splitlines() if line.startswith("FAIL")]
    assert [line.split()[1] for line in failed] == ["input", "output", "state"]
    assert all("is on a file system that is mounted read-only; mount it to be written" in line for line in failed)
