"""Logs: one line an event, nothing outside the allow-list, and never an error of their own."""

import base64
import io
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import urllib.parse
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.lowlevel
import pytest
import structlog

from worker.errors import CredentialsRefused, NotSent
from worker.result import Disposition
from worker.settings import TelemetrySettings
from worker.tally import Tally
from worker.telemetry import configure_logs
from worker.telemetry.lines import MOST_GATHERED
from worker.telemetry.logs import UnknownKey
from worker.telemetry.scrub import UNNAMED, WITHHELD

CANARIES = ("DOE^JANE M", "hush-secret/4711+x", "eyJhbGciOi.payload.sig==", "CLM*PCN77*125")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def configured(tally: Tally | None = None, **settings: Any) -> io.BytesIO:
    stream = io.BytesIO()
    configure_logs(TelemetrySettings(**settings), stream, tally=tally)
    return stream


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def forms(canary: str) -> Iterator[str]:
    """Every way in which a canary could slip through."""
    yield canary
    yield urllib.parse.quote(canary, safe="")
    yield urllib.parse.quote_plus(canary)
    yield base64.b64encode(canary.encode()).decode()
    yield base64.urlsafe_b64encode(canary.encode()).decode().rstrip("=")
    yield canary.encode().hex()
    yield canary.encode().hex().upper()
    yield json.dumps(canary)[1:-1]


def assert_clean(output: bytes) -> None:
    for canary in CANARIES:
        for form in forms(canary):
            assert form.encode() not in output


def test_a_line_is_json_with_time_level_event_and_its_keys() -> None:
    stream = configured()
    before = datetime.now(UTC)

    structlog.get_logger().info("claim.completed", claim_id="a1:7", attempts=2, disposition=Disposition.ACCEPTED)

    (line,) = lines(stream)
    assert list(line) == ["ts", "level", "event", "claim_id", "attempts", "disposition"]
    assert line["level"] == "info"
    assert line["disposition"] == "accepted"
    assert abs((datetime.fromisoformat(line["ts"]) - before).total_seconds()) < 5
    assert line["ts"].endswith("Z")
    assert len(line["ts"]) == len("2026-01-01T00:00:00.000Z")


def test_what_is_none_is_left_out() -> None:
    stream = configured()

    structlog.get_logger().info("claim.completed", claim_id="a1:7", reason=None)

    assert "reason" not in lines(stream)[0]


def test_levels_below_the_setting_are_not_written() -> None:
    stream = configured(log_level="warning")

    structlog.get_logger().info("claim.completed", claim_id="a1:7")
    structlog.get_logger().warning("claim.parked", claim_id="a1:7")

    assert [line["event"] for line in lines(stream)] == ["claim.parked"]


def test_keys_outside_the_allow_list_are_dropped_and_counted() -> None:
    tally = Tally()
    stream = configured(tally)

    structlog.get_logger().info("claim.completed", claim_id="a1:7", patient="DOE", stack_info=True)

    assert lines(stream)[0].keys() == {"ts", "level", "event", "claim_id"}
    assert tally.log_values_withheld == 2


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("reason", "outage", "outage"),
        ("reason", "free text of an answer", WITHHELD),
        ("reason", "x" * 101, WITHHELD),
        ("reason", "naïve", WITHHELD),
        ("reason", {"a": 1}, WITHHELD),
        ("reason", b"bytes", WITHHELD),
        ("code", 404, 404),
        ("attempts", "three", WITHHELD),
        ("attempts", 10**30, WITHHELD),
        ("delay_s", 1.5, 1.5),
        ("delay_s", float("nan"), None),
        ("batch", "märz claims.837", "märz claims.837"),
        ("batch", "a\x1b[2Jb\nc", "a\\x1b[2Jb\\nc"),
        ("batch", "lone \udc80", "lone \\udc80"),
        ("detail", "s" * 600, "s" * 500 + "…"),
        ("detail", object(), WITHHELD),
        ("names", ["a"], WITHHELD),
        ("frames", ["a.py:1", "with blank"], ["a.py:1", WITHHELD]),
        ("dispositions", {"accepted": 2, "free text": 1, "rejected": "x"}, {"accepted": 2}),
        ("claims", True, True),
    ],
)
def test_a_value_must_have_the_shape_of_its_key(key: str, value: object, shown: object) -> None:
    stream = configured()

    structlog.get_logger().info("batch.opened", **{key: value})

    assert lines(stream)[0][key] == shown


def test_an_event_that_is_a_sentence_is_not_written() -> None:
    tally = Tally()
    stream = configured(tally)

    structlog.get_logger().info("could not process Jane Doe")

    assert lines(stream)[0]["event"] == UNNAMED
    assert tally.log_values_withheld == 1


def test_in_tests_an_unknown_key_is_an_error() -> None:
    configure_logs(TelemetrySettings(), io.BytesIO(), strict=True)

    with pytest.raises(UnknownKey, match="patient"):
        structlog.get_logger().info("claim.completed", patient="DOE")


def fail_with(message: str) -> None:
    secret_local = message
    raise ValueError(f"{message} {secret_local}")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_planted_secrets_and_claim_content_never_reach_the_output(log_format: str) -> None:
    stream = configured(log_format=log_format)
    log = structlog.get_logger()
    for canary in CANARIES:
        for form in forms(canary):
            log.info("claim.completed", claim_id="a1:7", patient=form, body=form.encode(), **{form: 1})
            log.info(form, reason=f"said {form}")
            log.bind(token=form).warning("token.refused", token=form, args=(form,))
            log.info("claim.completed %s", form)
            logging.getLogger("aiohttp.client").error("body %s", form, extra={"body": form})
            logging.getLogger("asyncio").warning(form)
            try:
                fail_with(form)
            except ValueError as error:
                error.add_note(form)
                log.exception("task.failed", task="intake")
                log.warning("task.failed", exc_info=error)
                logging.getLogger("aiohttp.server").exception("Error handling request %s", form)
                log.warning("task.failed", exc_info=ExceptionGroup(form, [error, OSError(5, form, form)]))

    output = stream.getvalue()

    assert output.count(b"\n") == len(CANARIES) * 8 * 10
    assert_clean(output)


def test_an_exception_is_its_class_our_code_and_where_it_was_raised() -> None:
    stream = configured()

    try:
        try:
            fail_with("hush")
        except ValueError as error:
            raise CredentialsRefused("invalid_client", "hush") from error
    except CredentialsRefused:
        structlog.get_logger().exception("task.failed", task="token")

    (line,) = lines(stream)
    assert line["error"] == "CredentialsRefused"
    assert line["error_code"] == "invalid_client"
    assert line["frames"][-1].startswith("tests/unit/test_logs.py:")
    assert line["causes"][0].startswith("ValueError:tests/unit/test_logs.py:")
    assert "hush" not in json.dumps(line)


def test_the_members_of_a_group_and_their_codes_are_named() -> None:
    stream = configured()
    group = ExceptionGroup(
        "hush", [NotSent("dns_failed"), OSError(28, "hush"), ExceptionGroup("x", [KeyError("hush")])]
    )

    structlog.get_logger().error("task.failed", exc_info=group)

    assert set(lines(stream)[0]["causes"]) == {"NotSent:dns_failed", "OSError:ENOSPC", "ExceptionGroup", "KeyError"}


def test_an_exception_that_is_its_own_cause_ends() -> None:
    stream = configured()
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first

    structlog.get_logger().error("task.failed", exc_info=first)

    assert lines(stream)[0]["causes"] == ["KeyError"]


def test_asking_for_an_exception_where_there_is_none_is_harmless() -> None:
    stream = configured()

    structlog.get_logger().error("task.failed", exc_info=True)

    assert "error" not in lines(stream)[0]


def test_what_libraries_log_is_known_by_its_logger_and_level_only() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = configured()

        logging.getLogger("aiohttp.client").error("Unclosed connection %s", "hush")
        logging.getLogger("asyncio").info("Using selector")
        warnings.warn("hush", ResourceWarning, stacklevel=1)

    found = [(line["event"], line["level"], line["library"]) for line in lines(stream)]
    assert found == [("library.logged", "error", "aiohttp.client"), ("library.logged", "warning", "py.warnings")]
    assert b"hush" not in stream.getvalue()


@pytest.mark.fault(46)
def test_a_closed_pipe_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    tally = Tally()
    with os.fdopen(writer, "wb", buffering=0) as stream:
        configure_logs(TelemetrySettings(), stream, tally=tally)
        os.close(reader)

        structlog.get_logger().info("claim.completed", claim_id="a1:7")
        structlog.get_logger().info("claim.completed", claim_id="a1:8")

    assert tally.log_lines_lost == 2


@pytest.mark.fault(46)
def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    tally = Tally()
    with Path("/dev/full").open("wb", buffering=0) as stream:
        configure_logs(TelemetrySettings(), stream, tally=tally)

        structlog.get_logger().info("claim.completed", claim_id="a1:7")

    assert tally.log_lines_lost == 1


@pytest.mark.fault(46)
def test_a_closed_stream_costs_lines_and_nothing_else() -> None:
    tally = Tally()
    stream = io.StringIO()
    configure_logs(TelemetrySettings(), stream, tally=tally)
    stream.close()

    structlog.get_logger().info("claim.completed", claim_id="a1:7")

    assert tally.log_lines_lost == 1


@pytest.mark.fault(46)
def test_a_full_pipe_that_does_not_wait_costs_whole_lines() -> None:
    reader, writer = os.pipe()
    tally = Tally()
    os.set_blocking(writer, False)
    with os.fdopen(writer, "wb", buffering=0) as stream, os.fdopen(reader, "rb", buffering=0) as pipe:
        configure_logs(TelemetrySettings(), stream, tally=tally)
        log = structlog.get_logger()
        while tally.log_lines_lost == 0:
            log.info("batch.refused", batch="b" * 190, code="not_x12")
        first = pipe.read(1 << 20)

        log.info("batch.refused", batch="after", code="not_x12")
        rest = pipe.read(1 << 20)

    found = [json.loads(line) for line in (first + rest).splitlines()]
    assert found[-1]["batch"] == "after"


@pytest.mark.fault(46)
def test_a_line_torn_by_a_full_disk_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tally = Tally()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("wb", buffering=0) as stream:
        configure_logs(TelemetrySettings(), stream, tally=tally)
        log = structlog.get_logger()
        log.info("batch.refused", batch="whole")
        # The kernel writes what fits under the limit and refuses the rest, as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, hard))
        try:
            log.info("batch.refused", batch="torn")
            log.info("batch.refused", batch="lost")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        log.info("batch.refused", batch="after")

    whole, torn, after = path.read_bytes().splitlines()
    assert json.loads(whole)["batch"] == "whole"
    assert len(torn) == 20
    assert json.loads(after)["batch"] == "after"
    assert tally.log_lines_lost == 2


def test_a_stream_of_text_is_written_to_as_well() -> None:
    stream = io.StringIO()
    configure_logs(TelemetrySettings(), stream)

    structlog.get_logger().info("claim.completed", claim_id="a1:7")

    assert json.loads(stream.getvalue())["claim_id"] == "a1:7"


def test_standard_output_is_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs(TelemetrySettings())

    structlog.get_logger().info("claim.completed", claim_id="a1:7")

    assert json.loads(capfd.readouterr().out)["claim_id"] == "a1:7"


def test_a_bound_logger_writes_what_it_is_bound_to_and_what_it_is_given() -> None:
    stream = configured()
    log = structlog.get_logger().bind(claim_id="a1:7", attempts=1)

    log.info("claim.completed", attempts=2)
    log.debug("claim.completed")
    log.warning("claim.parked")

    assert [(line["event"], line["claim_id"], line["attempts"]) for line in lines(stream)] == [
        ("claim.completed", "a1:7", 2),
        ("claim.parked", "a1:7", 1),
    ]


def test_tests_may_capture_what_is_logged() -> None:
    stream = configured()
    log = structlog.get_logger().bind()

    with structlog.testing.capture_logs() as captured:
        log.info("claim.completed", claim_id="a1:7")

    assert captured == [{"event": "claim.completed", "claim_id": "a1:7", "log_level": "info"}]
    assert lines(stream) == []


def test_the_console_format_is_for_people() -> None:
    stream = configured(log_format="console")

    structlog.get_logger().info("claim.completed", claim_id="a1:7", attempts=1)

    text = stream.getvalue().decode()
    assert "claim.completed" in text
    assert "claim_id=a1:7" in text
    assert "\x1b" not in text


def test_a_process_that_crashes_shows_no_message(tmp_path: Path) -> None:
    script = tmp_path / "crash.py"
    script.write_text(
        "import threading\n"
        "from worker.settings import TelemetrySettings\n"
        "from worker.telemetry import configure_logs, log_crashes\n"
        "configure_logs(TelemetrySettings()); log_crashes()\n"
        "class Dying:\n"
        "    def __del__(self): raise ValueError('hush 1')\n"
        "Dying()\n"
        "def die(): raise ValueError('hush 2')\n"
        "thread = threading.Thread(target=die); thread.start(); thread.join()\n"
        "raise ValueError('hush 3')\n"
    )

    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=30, check=False)

    assert done.returncode == 1
    assert done.stderr == b""
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["error"] for line in events] == ["ValueError"] * 3
    assert b"hush" not in done.stdout


def test_threads_may_log_at_once() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb", buffering=0) as stream, os.fdopen(reader, "rb") as pipe:
        configure_logs(TelemetrySettings(), stream)
        log = structlog.get_logger()
        threads = [
            threading.Thread(target=lambda: [log.info("batch.opened", batch="b" * 100) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stream.close()
        content = pipe.read()

    assert len([json.loads(line) for line in content.splitlines()]) == 200


@contextmanager
def piped() -> Iterator[tuple[BinaryIO, Callable[[], list[str]]]]:
    """A pipe to log into, and what has arrived in it: the events of each write that is there."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with os.fdopen(writer, "wb", buffering=0) as stream, os.fdopen(reader, "rb", buffering=0) as pipe:

        def arrived() -> list[str]:
            return [json.loads(line)["event"] for line in (pipe.read(1 << 20) or b"").splitlines()]

        yield stream, arrived


async def test_ordinary_lines_of_one_turn_of_the_loop_go_out_together_at_its_end() -> None:
    with piped() as (stream, arrived):
        configure_logs(TelemetrySettings(), stream)
        log = structlog.get_logger()

        log.info("batch.opened")
        log.info("batch.settled")

        assert arrived() == []
        await anyio.lowlevel.checkpoint()
        assert arrived() == ["batch.opened", "batch.settled"]
        log.info("batch.opened")
        await anyio.lowlevel.checkpoint()
        assert arrived() == ["batch.opened"]


async def test_a_warning_goes_out_at_once_and_takes_the_lines_before_it_along() -> None:
    with piped() as (stream, arrived):
        configure_logs(TelemetrySettings(), stream)

        structlog.get_logger().info("batch.opened")
        structlog.get_logger().warning("batch.doubted")

        assert arrived() == ["batch.opened", "batch.doubted"]


async def test_many_lines_in_one_turn_do_not_wait_for_its_end() -> None:
    with piped() as (stream, arrived):
        configure_logs(TelemetrySettings(), stream)

        for _ in range(MOST_GATHERED + 1):
            structlog.get_logger().info("batch.opened")

        assert len(arrived()) == MOST_GATHERED


def test_the_lines_of_a_loops_last_turn_are_written() -> None:
    async def log_and_end() -> None:
        structlog.get_logger().info("worker.stopped")

    with piped() as (stream, arrived):
        configure_logs(TelemetrySettings(), stream)

        anyio.run(log_and_end)
        anyio.run(log_and_end)

        assert arrived() == ["worker.stopped"] * 2


async def test_lines_that_cannot_be_written_are_counted_one_by_one() -> None:
    tally = Tally()
    with piped() as (stream, _):
        configure_logs(TelemetrySettings(), stream, tally=tally)
        structlog.get_logger().info("batch.opened")
        structlog.get_logger().info("batch.opened")

    structlog.get_logger().error("task.failed")

    assert tally.log_lines_lost == 3
