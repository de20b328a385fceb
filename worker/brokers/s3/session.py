"""The sessions with S3: one client a place, and aiobotocore's errors turned into ours.

Credentials are found as in every AWS tool: environment, profile, role of the machine or the pod. A missing object is
told from a refused one only to those who may list the bucket; to others S3 calls both refused.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, PartialCredentialsError

from worker.brokers.references import BadReference
from worker.brokers.s3.address import Bucket
from worker.errors import SourceUnavailable, out_of_reach

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
TRIES = 3

# What is so of one object, whenever it is asked for again.
_FOR_GOOD = {
    "NoSuchKey": ("reference_missing", "there is no such object"),
    "404": ("reference_missing", "there is no such object"),
    "NoSuchVersion": ("reference_missing", "there is no such version of the object"),
    "MethodNotAllowed": ("reference_missing", "the object was deleted"),
    "405": ("reference_missing", "the object was deleted"),
    "PreconditionFailed": ("reference_changed", "the object is no longer the one that was announced"),
    "412": ("reference_changed", "the object is no longer the one that was announced"),
    "InvalidObjectState": ("reference_unreadable", "the object lies in an archive; restore it, then send it again"),
    "InvalidArgument": ("reference_unreadable", "the version is none that S3 gives"),
    "KeyTooLongError": ("reference_unreadable", "the key is longer than S3 allows"),
}
_NO_BUCKET = "NoSuchBucket"


class Sessions:
    """The clients, made when first asked for."""

    def __init__(self) -> None:
        self._clients: dict[Bucket, Any] = {}

    async def client(self, place: Bucket) -> Any:
        """Give the client of a place. Told within `translated`."""
        if place not in self._clients:
            self._clients[place] = await _made(place)
        return self._clients[place]

    async def look(self, place: Bucket) -> None:
        """See whether the bucket is there and may be read.

        :raises worker.errors.SourceUnavailable: if not; says why.
        """
        try:
            with translated(place):
                client = await self.client(place)
                await client.list_objects_v2(Bucket=place.name, Prefix=place.folder, MaxKeys=1)
        except BadReference as bad:
            raise SourceUnavailable(f"s3: {place.shown} cannot be listed ({bad.text})") from None

    async def close(self) -> None:
        """Let go of all clients; idempotent."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()


async def _made(place: Bucket) -> Any:
    own = {"addressing_style": "path"} if place.endpoint else {}
    config = AioConfig(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=ANSWER_TIMEOUT_S,
        retries={"total_max_attempts": TRIES, "mode": "standard"},
        s3=own,
    )
    made = AioSession().create_client(
        "s3",
        region_name=place.region or None,
        endpoint_url=place.endpoint or None,
        verify=place.ca_file or None,
        config=config,
    )
    return await made.__aenter__()


@contextmanager
def translated(place: Bucket) -> Iterator[None]:
    """Turn the library's errors into ours, without their texts, which quote keys and account numbers."""
    where = place.shown
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError):
        raise SourceUnavailable(
            f"s3: there are no credentials for {where}; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the"
            " role of the machine or pod gives them"
        ) from None
    except NoRegionError:
        raise SourceUnavailable(f"s3: no region is given for {where}; ?region=… or AWS_REGION names it") from None
    except ClientError as error:
        raise _refusal(where, error.response) from None
    except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise SourceUnavailable(out_of_reach(f"s3: {where}", error)) from None


def _refusal(where: str, response: Mapping[str, Any]) -> Exception:
    code = str(response.get("Error", {}).get("Code", ""))[:60]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _FOR_GOOD:
        return BadReference(*_FOR_GOOD[code])
    if code == _NO_BUCKET:
        return SourceUnavailable(f"s3: there is no bucket at {where}; look at input.reference_buckets")
    if status in (401, 403):
        return SourceUnavailable(
            f"s3: {where} refuses these credentials or their rights ({code}); s3:GetObject and s3:ListBucket are"
            " needed, and s3:GetObjectVersion for versions"
        )
    return SourceUnavailable(f"s3: {where} does not give an object now ({code or status})")
