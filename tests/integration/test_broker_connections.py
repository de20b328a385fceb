"""Nothing is said to a broker that cannot prove who it is, or speaks in the clear; why one is out of reach is told."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
import trustme

from worker import sinks
from worker.errors import SettingsError, SinkUnavailable
from worker.settings import InputSettings
from worker.sinks import PublishingSink
from worker.sources import inlet_from_url

PASSWORD = "hunter2"
URLS = {
    "amqps": f"amqps://u:{PASSWORD}@localhost:{{port}}/?queue=q",
    "rediss": f"rediss://u:{PASSWORD}@localhost:{{port}}/0?stream=q",
    "nats": f"nats://u:{PASSWORD}@localhost:{{port}}?subject=q&tls=true",
}
# What each library says first, once it trusts the other side.
FIRST_WORDS = {"amqps": b"AMQP", "rediss": b"AUTH", "nats": b"CONNECT"}
INFO = b'INFO {"server_id":"x","version":"2.9.0","auth_required":true,"max_payload":1048576%s}\r\n'


@asynccontextmanager
async def listening(engine: str, tls: ssl.SSLContext | None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Play so much of a broker that its clients speak; gives its port and what it was told first, after the TLS."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if engine == "nats":  # it begins in the clear, whatever comes then
                writer.write(INFO % (b',"tls_required":true' if tls else b""))
                if tls:
                    await writer.start_tls(tls)
            if words := await reader.read(300):
                heard.append(words)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if engine == "nats" else tls)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


async def reach(url: str) -> None:
    sink = sinks.from_url(url)
    assert isinstance(sink, PublishingSink)
    try:
        with anyio.fail_after(30):
            await sink.reach()
    finally:
        await sink.close()


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("engine", URLS)
async def test_a_broker_is_spoken_to_by_tls_once_its_certificate_is_trusted(
    engine: str, authority: trustme.CA, ca_file: str
) -> None:
    async with listening(engine, certified(authority, "localhost")) as (port, heard):
        with pytest.raises(SinkUnavailable):
            await reach(f"{URLS[engine].format(port=port)}&ca_file={ca_file}")

    assert FIRST_WORDS[engine] in heard[0]


@pytest.mark.fault(103)
@pytest.mark.parametrize("engine", URLS)
@pytest.mark.parametrize(("name", "trusted"), [("localhost", False), ("elsewhere.example", True)])
async def test_nothing_is_said_to_a_broker_whose_certificate_is_not_trusted(
    engine: str, name: str, trusted: bool, authority: trustme.CA, ca_file: str
) -> None:
    async with listening(engine, certified(authority, name)) as (port, heard):
        url = URLS[engine].format(port=port) + (f"&ca_file={ca_file}" if trusted else "")
        with pytest.raises(SinkUnavailable, match=r"cannot be reached \(its certificate is not trusted\)") as told:
            await reach(url)

    assert heard == []
    assert PASSWORD not in str(told.value)


@pytest.mark.fault(103)
async def test_with_tls_nothing_is_said_to_a_nats_that_does_not_ask_for_it() -> None:
    """Its client goes on in the clear then, with password and claims."""
    async with listening("nats", None) as (port, heard):
        with pytest.raises(SettingsError, match="does not ask for TLS"):
            await reach(URLS["nats"].format(port=port))

    assert heard == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("amqp://127.0.0.1:1/?queue=q", "connection refused"),
        ("redis://127.0.0.1:1/0?stream=q", "connection refused"),
        ("nats://127.0.0.1:1?subject=q", "connection refused"),
        ("amqp://no.invalid/?queue=q", "no such host name"),
        ("redis://no.invalid/0?stream=q", "no such host name"),
        ("nats://no.invalid?subject=q", "no such host name"),
    ],
)
async def test_why_a_broker_cannot_be_reached_is_told(url: str, reason: str) -> None:
    with pytest.raises(SinkUnavailable, match=rf"cannot be reached \({reason}\); see whether it runs there"):
        await reach(url)


@pytest.mark.parametrize("engine", URLS)
def test_a_file_of_authorities_that_cannot_be_used_is_a_mistake_and_no_outage(engine: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()

    for file in (tmp_path / "nothing.pem", tmp_path / "empty.pem", tmp_path):
        with pytest.raises(SettingsError, match=r"output\.urls: ca_file names no file of certificates"):
            sinks.from_url(f"{URLS[engine].format(port=1)}&ca_file={file}")


@pytest.mark.parametrize("subject", ["claims.*", "claims.>", "claims%20x", "claims..x"])
def test_a_subject_that_nothing_can_be_published_to_is_refused(subject: str) -> None:
    with pytest.raises(SettingsError, match="parameter subject must be a subject without blanks"):
        sinks.from_url(f"nats://127.0.0.1?subject={subject}")


def test_several_subjects_may_be_listened_to_if_the_dead_have_one_of_their_own() -> None:
    settings = InputSettings()

    assert inlet_from_url("nats://127.0.0.1?subject=claims.*&stream=CLAIMS&dead=dead", settings) is not None
    with pytest.raises(SettingsError, match="parameter dead must be a subject without blanks"):
        inlet_from_url("nats://127.0.0.1?subject=claims.*&stream=CLAIMS", settings)
    with pytest.raises(SettingsError, match="parameter subject must be"):
        inlet_from_url("nats://127.0.0.1?subject=my%20claims&stream=CLAIMS&dead=dead", settings)
    with pytest.raises(SettingsError, match="parameter stream must be a name"):
        inlet_from_url("nats://127.0.0.1?subject=claims&stream=my.claims", settings)
