"""What is done to a delivery before it is opened, and how it is cut: reading, surveying, hashing, splitting.

Everything here blocks and runs in threads, for many small batches or one piece of a large one at a time.
"""

import errno
import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import structlog

from worker.claim import SMALL_BYTES, Delivery
from worker.paths import Sight, sight_of
from worker.ports import Arrival
from worker.settings import InputSettings
from worker.x12 import ClaimFacts, Finding, SplitClaim, Survey, split, survey

log = structlog.get_logger()

SMALL_CLAIMS = 256
PIECE_CLAIMS = 128
PIECE_BYTES = 1 << 20

BROKEN = Finding("internal_error", "the worker failed on this batch; please report it and keep the file", "error")
LOST = Finding("batch_lost", "the file changed or disappeared while it was being read; deliver it again", "error")


class Prepared(msgspec.Struct, frozen=True):
    """A delivery with its survey and hash; `claims` are split already where they are few.

    `units` is how many units of submission the batch holds: claims, unless `input.split` says otherwise. `sight`
    is what its file looked like before it was read.
    """

    delivery: Delivery
    survey: Survey
    sha256: str
    units: int
    claims: list[SplitClaim] | None
    sight: Sight | None = None

    def arrival(self, reserved: int) -> Arrival:
        """Describe the delivery to the ledger, with the ordinal up to which first attempts are noted at once."""
        delivery = self.delivery
        return Arrival(
            self.sha256, delivery.ref, delivery.name, delivery.size, delivery.received_at, self.units, reserved
        )


def prepare_all(deliveries: Sequence[Delivery], settings: InputSettings) -> list[Prepared]:
    """Survey, hash and, where they are small, split these deliveries."""
    return [_prepare_alone(delivery, settings) for delivery in deliveries]


def cut(one: Prepared, settings: InputSettings) -> Iterator[SplitClaim]:
    """Cut a large batch, lazily."""
    return _split(one.delivery, one.survey, one.sha256, settings.split)


def next_piece(claims: Iterator[SplitClaim], one: Prepared) -> list[SplitClaim]:
    """Cut the next claims off a large batch.

    :raises OSError: if its file cannot be read or is not any more what was surveyed; then nothing of this piece counts.
    """
    piece, size = [], 0
    for claim in islice(claims, PIECE_CLAIMS):
        piece.append(claim)
        size += len(claim.interchange)
        if size >= PIECE_BYTES:
            break
    if not piece or _sight(one.delivery) != one.sight:
        raise OSError(errno.ESTALE, "changed while it was read")
    return piece


def lost_claims(after: int, one: Prepared, why: Finding) -> list[SplitClaim]:
    """Stand in for the next claims of a batch that was lost: they cannot be sent, and each must get a result."""
    upto = min(after + PIECE_CLAIMS, one.units)
    return [SplitClaim(ordinal, b"", ClaimFacts(), why) for ordinal in range(after + 1, upto + 1)]


def _prepare_alone(delivery: Delivery, settings: InputSettings) -> Prepared:
    """Prepare one delivery; a failure here affects it only."""
    try:
        return _prepare(delivery, settings)
    except OSError:  # a file of somebody else's, which a message referred to: by now it is gone, or cannot be read
        why = LOST
    except Exception:  # the outermost frame of reading a batch: one is put aside, the worker does not end
        log.exception("task.failed", task="batch", batch=delivery.name)
        why = BROKEN
    return Prepared(delivery, Survey(complete=True, refusal=why), delivery.sha256 or "", 0, None)


def _prepare(delivery: Delivery, settings: InputSettings) -> Prepared:
    if delivery.only is not None and delivery.survey is not None and delivery.sha256 is not None:
        return Prepared(delivery, delivery.survey, delivery.sha256, 1, [delivery.only])
    sight = _sight(delivery)
    surveyed = delivery.survey or survey(delivery.chunks())
    digest = delivery.sha256 or _sha256(delivery)
    units = {"claim": surveyed.claims, "transaction": surveyed.sets, "none": surveyed.interchanges}[settings.split]
    if surveyed.refusal is not None or units > SMALL_CLAIMS or delivery.size > SMALL_BYTES or delivery.data is None:
        return Prepared(delivery, surveyed, digest, units, None, sight)
    return Prepared(delivery, surveyed, digest, units, list(_split(delivery, surveyed, digest, settings.split)))


def _sha256(delivery: Delivery) -> str:
    digest = hashlib.sha256()
    for chunk in delivery.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _split(delivery: Delivery, surveyed: Survey, sha256: str, mode: str) -> Iterator[SplitClaim]:
    """Cut the batch; the control numbers come from its hash, so that a repeat is byte-identical."""
    return split(delivery.chunks(), surveyed, seed=int(sha256[:12], 16), mode=mode)


def _sight(delivery: Delivery) -> Sight | None:
    """Look at the delivery's file; None if it has none, or it is gone."""
    if delivery.path is None:
        return None
    try:
        return sight_of(delivery.path.stat())
    except OSError:
        return None
