"""`enqueue`: files, and references to objects, onto a broker, each confirmed; the worker takes them from there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import anyio.to_thread
import msgspec
import typer
from rich.status import Status

from worker import sources
from worker.brokers.engine import Inlet, Sender
from worker.brokers.messages import Message
from worker.brokers.references import BadReference, file_reference, objects_of
from worker.brokers.senders import CLAIMS, sender_from_url
from worker.claim import Delivery
from worker.cli.console import is_terminal, plural, rows_table, stderr, stdout
from worker.cli.options import Config, add_command, settings_from
from worker.errors import SettingsError, SinkUnavailable, SourceUnavailable, StorageFull
from worker.settings import InputSettings
from worker.sources.listed import ListedFiles

EPILOG = """Examples:

  precheck-worker enqueue claims.837 --config config/redis.toml

  precheck-worker enqueue /data/outgoing --create --to 'redis://127.0.0.1/0?stream=precheck:claims'

  precheck-worker enqueue s3://claims/2026-11-26/day.837 --config config/sqs.toml"""

if TYPE_CHECKING:
    from worker.brokers.s3 import S3Objects

OBJECT = "s3://"

AT_ONCE = 32
# Larger files go by reference even where the broker takes them: a message is held in memory whole, by everybody.
MOST_BODY_BYTES = 16 << 20
HEADERS_BYTES = 4096
TRIES = 5
TRY_AGAIN_S = 2.0


class Outcome(msgspec.Struct):
    """How far it came: messages confirmed, and the files that were not sent, with the reason."""

    sent: int = 0
    refused: list[tuple[str, str]] = []


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "enqueue", enqueue, EPILOG)


def enqueue(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="837 files, folders of them, or s3://bucket/key; they stay where they are.", metavar="PATH…"
        ),
    ],
    config: Config = None,
    to: Annotated[
        str | None, typer.Option("--to", help="URL of the broker; without it the settings' input.url.", metavar="URL")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make what is missing: queue or stream, consumer, dead letters.")
    ] = False,
) -> int:
    """Put 837 files on a broker, one message a file; on return the broker has confirmed each.

    What is too large for a message goes as a reference, if it lies below input.reference_root, a folder that the
    workers see under the same path; it must stay there until it is processed. An object in S3 goes as a reference to
    what it is now, if it lies below input.reference_buckets. The same file or object put there twice counts once.
    The exit code is 1 if one was not sent.
    """
    settings = settings_from(config, online=False)
    url = to or settings.input.url
    if url.startswith("dir:") and not to:
        raise SettingsError(["input.url: is a folder, into which files are copied or renamed; name a broker with --to"])
    sender = sender_from_url(url, setting="--to" if to else "input.url", place=CLAIMS)
    urls = [path for path in paths if path.startswith(OBJECT)]
    inlet = sources.inlet_from_url(url, settings.input) if create else None
    objects = objects_of(settings.input) if urls else None
    files = ListedFiles([Path(path) for path in paths if not path.startswith(OBJECT)], settings.input)

    async def work() -> Outcome:
        outcome = Outcome()
        announced = [] if objects is None else await _announced(urls, objects, outcome)
        if inlet is not None:
            await _make(inlet)
        await _enqueue(sender, files, announced, settings.input, outcome)
        return outcome

    outcome = anyio.run(work)
    if outcome.refused:
        stdout().print(rows_table("Not sent", ("file", "why"), outcome.refused))
    stdout().print(f"{plural(outcome.sent, 'batch')} sent to {sender.shown}")
    return 1 if outcome.refused else 0


async def _make(inlet: Inlet) -> None:
    """Make all that a worker will ask for there; nothing is taken."""
    try:
        await inlet.open(create=True)
    except SourceUnavailable as error:
        raise SinkUnavailable(str(error)) from None  # to us it is where things go
    finally:
        await inlet.close()


async def _announced(urls: Sequence[str], objects: "S3Objects", outcome: Outcome) -> list[Message]:
    """Make the messages of objects as they are now; those of which there can be none are noted with the reason."""
    messages = []
    try:
        for url in urls:
            try:
                announced = await objects.announced(url)
            except BadReference as bad:
                outcome.refused.append((url, bad.text))
            except SourceUnavailable as error:
                outcome.refused.append((url, str(error)))
            else:
                name = announced.key.rpartition("/")[2]
                messages.append(Message(b"", name=name, message_id=str(announced), reference=str(announced)))
    finally:
        await objects.close()
    return messages


async def _enqueue(
    sender: Sender,
    files: ListedFiles,
    announced: Sequence[Message],
    settings: InputSettings,
    outcome: Outcome,
) -> None:
    await files.open()
    progress = Status("", console=stderr()) if is_terminal() else None
    try:
        await sender.open(create=False)
        if progress is not None:
            progress.start()
        for place in range(0, len(announced), AT_ONCE):
            await _send(sender, announced[place : place + AT_ONCE], outcome)
        while deliveries := await files.take(AT_ONCE):
            messages = [await _message(one, sender, settings, outcome) for one in deliveries]
            await _send(sender, [message for message in messages if message is not None], outcome)
            if progress is not None:
                progress.update(f"{plural(outcome.sent, 'batch')} confirmed")
    finally:
        if progress is not None:
            progress.stop()
        await files.close()
        await sender.close()


async def _send(sender: Sender, messages: Sequence[Message], outcome: Outcome) -> None:
    """Send until confirmed; one that was confirmed already keeps its id and counts once."""
    for number in range(TRIES):
        try:
            if number:
                await sender.open(create=False)
            await sender.send(messages)
        except StorageFull:
            if number == TRIES - 1:
                raise
            await anyio.sleep(TRY_AGAIN_S)
        else:
            outcome.sent += len(messages)
            return


async def _message(one: Delivery, sender: Sender, settings: InputSettings, outcome: Outcome) -> Message | None:
    """Make the message of a file; None, with the reason noted, if there can be none."""
    if one.survey is not None and one.survey.refusal is not None:
        outcome.refused.append((one.name, one.survey.refusal.text))
        return None
    message = Message(b"", name=one.name, message_id=f"{one.ref}:{(one.sha256 or '')[:16]}")
    room = min(sender.most_bytes - HEADERS_BYTES, MOST_BODY_BYTES)
    if one.size <= room:
        return msgspec.structs.replace(message, body=await anyio.to_thread.run_sync(_read, one))
    reference = await anyio.to_thread.run_sync(_reference, one.path, settings.reference_root)
    if reference is None:
        why = f"too large for a message here ({one.size:,} bytes, {room:,} fit)"
        outcome.refused.append((one.name, f"{why}; put it below input.reference_root, which the workers share"))
        return None
    return msgspec.structs.replace(message, reference=reference)


def _read(one: Delivery) -> bytes:
    return b"".join(one.chunks())


def _reference(path: Path | None, root: str) -> str | None:
    """Make the reference of a file that lies below the folder for references; None for another."""
    if path is None or not root or not path.resolve().is_relative_to(Path(root).resolve()):
        return None
    return file_reference(path)
