"""From a reference to the bytes of an object, and from an object to the reference that announces it.

A small object is held in memory; a larger one goes, piece by piece, into a file of the worker's own folder, which is
removed once its batch is settled. One larger than a batch may be is not fetched at all.
"""

from collections.abc import Sequence
from typing import Any

from worker.brokers.fetched import FetchedFiles
from worker.brokers.references import BadReference, Fetched
from worker.brokers.s3.address import Bucket, ObjectReference, parse_reference
from worker.brokers.s3.session import Sessions, translated
from worker.claim import SMALL_BYTES
from worker.errors import SourceUnavailable

PIECE_BYTES = 1 << 18


class S3Objects:
    """Follows ``s3://`` below `places` (`worker.brokers.references.Resolver`)."""

    def __init__(self, places: Sequence[Bucket], files: FetchedFiles, *, most_bytes: int) -> None:
        self._places = tuple(places)
        self._files = files
        self._most_bytes = most_bytes
        self._sessions = Sessions()

    async def open(self) -> None:
        """Remove what a process of ours that died had fetched.

        :raises worker.errors.SettingsError: if the folder for that is another worker's.
        :raises worker.errors.SourceUnavailable: if it cannot be used.
        """
        await self._files.prepare()

    def lane(self, reference: str) -> str:
        """Name the bucket: what one bucket does not give now, another may."""
        return reference.removeprefix("s3://").partition("/")[0]

    async def fetch(self, reference: str) -> Fetched:
        """Get the bytes; see `worker.brokers.references.References.fetch`."""
        wanted = parse_reference(reference)
        place = self._place(wanted)
        with translated(place):
            client = await self._sessions.client(place)
            answer = await client.get_object(Bucket=wanted.bucket, Key=wanted.key, **_pins(wanted))
            size = int(answer["ContentLength"])
            async with answer["Body"] as body:
                if size > self._most_bytes:
                    return Fetched(size)
                if size <= SMALL_BYTES:
                    return Fetched(size, data=await _whole(body, size))
                return await self._kept(body, size)

    async def announced(self, url: str) -> ObjectReference:
        """Make the reference to the object at `url` as it is now: its version, if the bucket has any, and its ETag.

        :raises worker.brokers.references.BadReference: if there is no such object, or it lies outside of all places.
        :raises worker.errors.SourceUnavailable: if it cannot be asked for.
        """
        wanted = parse_reference(url)
        place = self._place(wanted)
        with translated(place):
            client = await self._sessions.client(place)
            told = await client.head_object(Bucket=wanted.bucket, Key=wanted.key, **_pins(wanted))
        if (size := int(told["ContentLength"])) > self._most_bytes:
            raise BadReference("too_large", f"{size} bytes, and input.max_batch_bytes is less")
        version = str(told.get("VersionId", ""))
        etag = str(told["ETag"]).strip('"')
        return ObjectReference(wanted.bucket, wanted.key, "" if version == "null" else version, etag)

    async def look(self) -> None:
        """See whether the places can be read; see `Sessions.look`."""
        for place in self._places:
            await self._sessions.look(place)

    async def close(self) -> None:
        """Disconnect, and let go of the folder."""
        await self._sessions.close()
        self._files.close()

    def _place(self, wanted: ObjectReference) -> Bucket:
        for place in self._places:
            if place.holds(wanted):
                return place
        raise BadReference("reference_outside", "the object does not lie below input.reference_buckets")

    async def _kept(self, body: Any, size: int) -> Fetched:
        async with self._files.writing() as file:
            while piece := await body.read(PIECE_BYTES):
                await file.write(piece)
            _complete(file.size, size)
        return Fetched(size, path=file.path, let_go=file.remove)


async def _whole(body: Any, size: int) -> bytes:
    data = bytes(await body.read())
    _complete(len(data), size)
    return data


def _complete(came: int, announced: int) -> None:
    if came != announced:
        raise SourceUnavailable(f"s3: {came} of {announced} bytes came")


def _pins(wanted: ObjectReference) -> dict[str, str]:
    """Tell S3 to give the object that was announced, or none."""
    version = {"VersionId": wanted.version} if wanted.version else {}
    return version | ({"IfMatch": f'"{wanted.etag}"'} if wanted.etag else {})
