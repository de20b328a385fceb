"""The session with SQS: one client, what a queue is like, and aiobotocore's errors turned into ours.

Credentials are found as in every AWS tool: environment, profile, role of the machine or the pod. They are held by the
library alone. A request is repeated by the library twice, for single failures are part of the service's life; what
fails then is told.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from worker.brokers.extras import CREATE_IT
from worker.brokers.sqs.address import QueueAddress
from worker.errors import SettingsError, WorkerError, out_of_reach

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 30.0
TRIES = 3
CONNECTIONS = 16
KEPT_S = 14 * 86_400  # the longest that SQS keeps a message
SHORT_S = 86_400
LONGEST_LEASE_S = 43_200  # SQS's own bound, from the moment of delivery

_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_REFUSED = {
    "AccessDenied", "AccessDeniedException", "AuthFailure", "ExpiredToken", "ExpiredTokenException",
    "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSecurity", "IncompleteSignature", "KMS.AccessDeniedException",
    "KmsAccessDenied", "MissingAuthenticationToken", "NotAuthorized", "OptInRequired", "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}  # fmt: skip
_FOR_NOW = {
    "AWS.SimpleQueueService.QueueDeletedRecently", "InternalError", "InternalFailure", "KMS.ThrottlingException",
    "KmsThrottled", "OverLimit", "PurgeQueueInProgress", "QueueDeletedRecently", "RequestExpired", "RequestThrottled",
    "ServiceUnavailable", "Throttling", "ThrottlingException",
}  # fmt: skip


class Queue(msgspec.Struct, frozen=True):
    """A queue as the service tells of it. `dead_name` is where its redrive policy leads, "" without one."""

    url: str
    most_bytes: int
    dead_name: str


class Session:
    """One client, from `connect` to `close`."""

    def __init__(self, address: QueueAddress) -> None:
        self.address = address
        self._client: Any = None

    @property
    def client(self) -> Any:
        """Give the client. Told within `translated`.

        :raises ConnectionError: if there is none.
        """
        if self._client is None:
            raise ConnectionError("not connected")
        return self._client

    async def connect(self) -> None:
        """Make the client anew. Told within `translated`."""
        await self.close()
        address = self.address
        config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=ANSWER_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            retries={"total_max_attempts": TRIES, "mode": "standard"},
        )
        made = AioSession().create_client(
            "sqs",
            region_name=address.region or None,
            endpoint_url=address.endpoint or None,
            verify=address.ca_file or None,
            config=config,
        )
        self._client = await made.__aenter__()

    async def queue(self, *, create: bool, lease_s: float | None = None) -> Queue:
        """Find the queue and what it is like; with `create`, make it if it is missing. Told within `translated`."""
        address = self.address
        url = address.url
        if create:
            await self._create(address.name, lease_s)
        if not url:
            url = await self.url_of(address.name)
        answer = await self.client.get_queue_attributes(
            QueueUrl=url, AttributeNames=["MaximumMessageSize", "RedrivePolicy", "MessageRetentionPeriod"]
        )
        told: Mapping[str, str] = answer.get("Attributes", {})
        self._warn(told)
        return Queue(url, int(told.get("MaximumMessageSize", 1 << 18)), _redrive(told)[0])

    async def url_of(self, name: str) -> str:
        """Ask for a queue's URL. Told within `translated`."""
        return str((await self.client.get_queue_url(QueueName=name))["QueueUrl"])

    async def dead_letters(self, queue: Queue, *, create: bool) -> str:
        """Find the URL of the queue for dead letters; with `create`, make it. Told within `translated`."""
        name = self.address.dead or queue.dead_name or self.address.dead_name
        if create:
            await self._create(name, None)
        return await self.url_of(name)

    async def close(self) -> None:
        """Let go of the client; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _create(self, name: str, lease_s: float | None) -> None:
        """Make a queue unless it is there: one that is there keeps its attributes, whatever they are."""
        try:
            await self.url_of(name)
        except ClientError as error:
            if _code(error) not in _MISSING:
                raise
        else:
            return
        attributes = {"MessageRetentionPeriod": str(KEPT_S)}
        if lease_s is not None:
            attributes["VisibilityTimeout"] = str(whole_seconds(lease_s))
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
            # Messages are groups of their own, so a group's share of the throughput is all that a message needs.
            attributes |= {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        await self.client.create_queue(QueueName=name, Attributes=attributes)

    def _warn(self, told: Mapping[str, str]) -> None:
        """Tell what in the queue's settings lets it lose messages, or put them aside for no fault of theirs."""
        shown = self.address.shown
        receives = _redrive(told)[1]
        if 0 < receives < 100:
            detail = (
                f"sqs: {shown} puts messages aside after {receives} deliveries, a drain is one: set maxReceiveCount"
            )
            log.warning("settings.warned", detail=f"{detail} to 1000; input.poison_after counts deaths alone")
        if int(told.get("MessageRetentionPeriod", KEPT_S)) < SHORT_S:
            detail = f"sqs: {shown} drops messages in less than a day; set its retention to 14 days"
            log.warning("settings.warned", detail=detail)


def whole_seconds(lease_s: float) -> int:
    """Give a lease as SQS takes it: whole seconds, twelve hours at most."""
    return min(max(1, round(lease_s)), LONGEST_LEASE_S)


@contextmanager
def translated(
    address: QueueAddress, unavailable: type[WorkerError], *, missing: type[WorkerError] | None = None
) -> Iterator[None]:
    """Turn the library's errors into ours, without their texts, which quote keys and account numbers."""
    where = address.shown
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound):
        text = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the role of the machine or pod"
        raise SettingsError([f"sqs: there are no credentials for {where}; give them by {text}"]) from None
    except NoRegionError:
        raise SettingsError([f"sqs: no region is given for {where}; ?region=… or AWS_REGION names it"]) from None
    except ClientError as error:
        raise _refusal(address, error, unavailable, missing) from None
    except (BotoCoreError, OSError, TimeoutError) as error:
        raise unavailable(out_of_reach(f"sqs: {where}", error)) from None


def _refusal(
    address: QueueAddress, error: ClientError, unavailable: type[WorkerError], missing: type[WorkerError] | None
) -> WorkerError:
    code, where = _code(error), address.shown
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _MISSING:
        text = f"sqs: the queue, or the one for its dead letters, is missing at {where}; {CREATE_IT}"
        return missing(text) if missing else SettingsError([text])
    if code in _REFUSED or status in (401, 403):
        return SettingsError([f"sqs: {where} refuses these credentials or their rights ({code})"])
    if code in _FOR_NOW or status >= 500 or status == 429:
        return unavailable(f"sqs: {where} does not take this now ({code[:60]})")
    return SettingsError([f"sqs: {where} refuses the request ({code[:60]})"])


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _redrive(told: Mapping[str, str]) -> tuple[str, int]:
    """Read a redrive policy: the dead letters' queue and after how many deliveries; "" and 0 without one."""
    try:
        policy = json.loads(told.get("RedrivePolicy") or "{}")
        return str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2], int(policy.get("maxReceiveCount", 0))
    except ValueError:
        return "", 0
