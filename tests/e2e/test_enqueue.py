"""`enqueue` puts files on every engine, makes what a worker needs there, and says what is missing or wrong."""

import signal
import sys
from pathlib import Path

import pytest

from tests.brokers import NatsPlace, Place
from tests.e2e.harness import Run, Simulator, Site, fetch, log_lines, wait_until
from tests.oracle import assert_one_result_each, read_results
from tests.processes import free_port
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

FILES, CLAIMS_A_FILE = 3, 4


@pytest.fixture
def fed(tmp_path: Path, simulator: Simulator) -> Site:
    """Give a site with files to put somewhere."""
    site = Site(tmp_path / "site", simulator.origin)
    write_folder(site.root / "given", files=FILES, claims_per_file=CLAIMS_A_FILE, spec=GeneratorSpec(claims=1))
    return site


def test_what_enqueue_makes_is_all_that_a_worker_needs(fed: Site, place: Place) -> None:
    fed.environ["PRECHECK_INPUT__URL"] = place.url

    missing = fed.run("enqueue", "given")
    unprepared = fed.run("check")
    enqueued = fed.run("enqueue", "given", "--create")
    checked = fed.run("check")
    done = fed.run_once()

    assert (missing.returncode, unprepared.returncode) == (2, 2)
    assert b"create it: precheck-worker run --create (or enqueue --create" in missing.stderr
    assert b"create it: precheck-worker run --create" in unprepared.stdout
    assert enqueued.returncode == 0, enqueued.stderr.decode()
    assert f"{FILES} batches sent" in enqueued.stdout.decode()
    assert checked.returncode == 0, checked.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert_one_result_each(read_results(fed.results), FILES * CLAIMS_A_FILE)


@pytest.mark.parametrize("scheme", ["amqp://", "nats://", "redis://", "sqs:https://"])
@pytest.mark.parametrize("more", [(), ("--create",)], ids=["plain", "create"])
def test_a_broker_that_is_away_is_named_and_nothing_is_sent(fed: Site, scheme: str, more: tuple[str, ...]) -> None:
    url = f"{scheme}127.0.0.1:9" + ("/123456789012/claims?region=eu-central-1" if scheme.startswith("sqs") else "")

    refused = fed.run("enqueue", "given", "--to", url, *more)

    assert refused.returncode == 3
    assert b"cannot be reached" in refused.stderr
    assert b"see whether it runs there, or correct the URL" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1  # and no line of a library's beside it


def test_a_broker_that_is_away_when_the_worker_starts_is_told_once(fed: Site) -> None:
    http = f"127.0.0.1:{free_port()}"
    run = fed.start("run", PRECHECK_INPUT__URL="redis://127.0.0.1:9/0?stream=x", PRECHECK_TELEMETRY__HTTP=http)
    wait_until(lambda: run.has_logged("worker.started"))
    wait_until(lambda: run.has_logged("input.unavailable"))
    wait_until(lambda: b"\nprecheck_input_available 0.0\n" in fetch(f"http://{http}/metrics")[1])
    run.process.send_signal(signal.SIGTERM)
    run.wait()

    events = [line["event"] for line in log_lines(run.stdout)]
    assert run.returncode == 0
    assert events.count("input.unavailable") == 1
    assert events.index("input.unavailable") > events.index("worker.started")


def test_what_is_too_large_for_a_message_goes_as_a_reference_to_a_shared_file(fed: Site, tmp_path: Path) -> None:
    place = NatsPlace(tmp_path)
    (large,) = write_folder(fed.root / "shared", files=1, claims_per_file=2600, spec=GeneratorSpec(claims=1))
    fed.environ |= {"PRECHECK_INPUT__URL": place.url, "PRECHECK_OUTPUT__URLS": f'["jsonl:{fed.results}"]'}

    unshared = fed.run("enqueue", "shared", "--create")
    fed.environ["PRECHECK_INPUT__REFERENCE_ROOT"] = str(fed.root / "shared")
    shared = fed.run("enqueue", "shared")
    done = fed.run_once()

    place.remove()
    assert large.stat().st_size > 1 << 20
    assert unshared.returncode == 1
    assert "put it below input.reference_root" in " ".join(unshared.stdout.decode().split())
    assert shared.returncode == 0, shared.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert_one_result_each(read_results(fed.results), 2600)
    assert large.exists()


@pytest.mark.parametrize(
    ("library", "extra", "url"),
    [
        ("aio_pika", "rabbitmq", "amqp://127.0.0.1/"),
        ("nats", "nats", "nats://127.0.0.1"),
        ("redis", "redis", "redis://127.0.0.1"),
        ("aiobotocore", "sqs", "sqs:claims?region=eu-central-1"),
        ("asyncpg", "postgres", "postgresql://worker@127.0.0.1/claims"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(fed: Site, library: str, extra: str, url: str) -> None:
    without = f"import sys; sys.modules[{library!r}] = None; from worker.cli import main; main()"
    wanted = [("run", "PRECHECK_OUTPUT__URLS", f'["{url}"]')]
    wanted += [("run", "PRECHECK_STATE__URL", url)] if extra == "postgres" else [("run", "PRECHECK_INPUT__URL", url)]
    wanted += [] if extra == "postgres" else [("enqueue", "PRECHECK_INPUT__URL", url)]

    for command, variable, value in wanted:
        words = (command, "given") if command == "enqueue" else (command, "--once")
        refused = Run(fed, words, {variable: value}, program=(sys.executable, "-c", without)).wait()

        assert refused.returncode == 2
        assert f"pip install '.[{extra}]'".encode() in refused.stderr
