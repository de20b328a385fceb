"""Writes synthetic 837 batches of any size, piece by piece, in constant memory.

A batch is one interchange with one functional group per kind of claim, and transaction sets of `claims_per_st`
claims; what is inside a set is told in `worker.simulator.transaction`. The text is made from templates, so that
200,000 claims take seconds; the same `GeneratorSpec` always gives the same bytes.

CLM01 is unique per seed and ordinal: a tag of three characters made from the seed, then the ordinal. In front of
it may stand a magic value (`worker.simulator.outcomes`) that steers the simulator's verdict.
"""

from collections.abc import Iterator, Mapping
from itertools import accumulate, islice
from random import Random
from typing import Literal

import msgspec

from worker.settings.service import SUPPORTED_PAYERS
from worker.simulator.codes import is_magic
from worker.simulator.templates import USUAL_DELIMITERS, Kit, Layout, envelope, institutional_kit, professional_kit
from worker.simulator.transaction import TransactionSet, shares
from worker.x12 import Delimiters

_PIECES_A_CHUNK = 256  # some 64 kB
_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_KITS = {
    "professional": [professional_kit],
    "institutional": [institutional_kit],
    "mixed": [professional_kit, institutional_kit],
}


class GeneratorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate. A wrong value raises ValueError when the spec is made.

    `family_share` is the share of subscribers that are families. `providers` bill in turn within a set.
    `planted` maps magic values to the share of claims that carry them. `first_ordinal` and `control_number`
    (ISA13) let several files be unique among themselves. `guide` overrides GS08 and ST03; not with ``mixed``.
    `date` is that of the service and of the envelopes, ``YYYYMMDD``.
    """

    claims: int
    kind: Literal["professional", "institutional", "mixed"] = "professional"
    claims_per_st: int = 5000
    family_share: float = 0.15
    providers: int = 3
    payers: tuple[str, ...] = SUPPORTED_PAYERS[:6]
    seed: int = 1
    first_ordinal: int = 1
    control_number: int = 1
    planted: Mapping[str, float] = {}
    delimiters: Delimiters = USUAL_DELIMITERS
    newline: bytes = b"\n"
    usage: Literal["T", "P"] = "T"
    guide: str = ""
    date: str = "20250115"

    def __post_init__(self) -> None:
        """Refuse what would not make a valid batch."""
        for name in ("claims", "claims_per_st", "providers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be 1 or more")
        if not self.payers:
            raise ValueError("payers: must name at least one")
        if self.guide and self.kind == "mixed":
            raise ValueError("guide: cannot be given for mixed claims")
        if not 0.0 <= self.family_share <= 1.0:
            raise ValueError("family_share: must lie between 0 and 1")
        if min(self.planted.values(), default=0.0) < 0.0 or sum(self.planted.values()) > 1.0 + 1e-9:
            raise ValueError("planted: the shares must lie between 0 and 1 and add up to 1 at most")
        for magic in self.planted:
            if not is_magic(magic):
                raise ValueError(f"planted: {magic!r} is no magic value")


def generate(spec: GeneratorSpec) -> Iterator[bytes]:
    """Yield one batch in chunks of some 64 kB."""
    return Generator(spec).batch(spec.claims, spec.first_ordinal, spec.control_number)


class Generator:
    """Writes batches of one `GeneratorSpec`; its templates are made once, here."""

    def __init__(self, spec: GeneratorSpec) -> None:
        self._spec = spec
        layout = Layout(spec.delimiters, spec.newline)
        rng = Random(f"templates {spec.seed}")
        self._envelope = envelope(layout, usage=spec.usage, date=spec.date)
        self._kits = [
            make(layout, guide=spec.guide, date=spec.date, providers=spec.providers, payers=spec.payers, rng=rng)
            for make in _KITS[spec.kind]
        ]
        thresholds = accumulate(spec.planted.values())
        self._planted = [(upto, magic.encode()) for upto, magic in zip(thresholds, spec.planted, strict=True)]
        self._tag = "".join(_BASE36[spec.seed // 36**place % 36] for place in (2, 1, 0)).encode()

    def batch(self, claims: int, first_ordinal: int, control_number: int) -> Iterator[bytes]:
        """Yield one interchange of `claims` claims in chunks of some 64 kB."""
        pieces = self._interchange(claims, first_ordinal, control_number)
        while chunk := b"".join(islice(pieces, _PIECES_A_CHUNK)):
            yield chunk

    def _interchange(self, claims: int, ordinal: int, control_number: int) -> Iterator[bytes]:
        rng = Random(f"{self._spec.seed} {ordinal}")
        yield self._envelope.interchange.template % control_number
        groups = 0
        for kit, share in zip(self._kits, shares(claims, len(self._kits)), strict=True):
            if share:
                groups += 1
                yield from self._group(kit, share, ordinal, control_number * 2 + groups - 2, rng)
                ordinal += share
        yield self._envelope.interchange_trailer.template % (groups, control_number)

    def _group(self, kit: Kit, claims: int, ordinal: int, control_number: int, rng: Random) -> Iterator[bytes]:
        yield kit.group.template % control_number
        per_set = self._spec.claims_per_st
        for number, start in enumerate(range(0, claims, per_set), start=1):
            reference = b"TST%b-%d-%d" % (self._tag, control_number, number)
            transaction = TransactionSet(kit, ordinal + start, rng, self._spec.family_share, self._claim_number)
            yield kit.header.template % (number, reference)
            yield from transaction.loops(min(per_set, claims - start))
            yield self._envelope.set_trailer.template % (transaction.segments + 1, number)
        yield self._envelope.group_trailer.template % (number, control_number)

    def _claim_number(self, ordinal: int, rng: Random) -> bytes:
        """Return the patient control number (CLM01), with a magic value in front where one is planted."""
        if self._planted:
            draw = rng.random()
            for upto, magic in self._planted:
                if draw < upto:
                    return b"%b%b%08d" % (magic, self._tag, ordinal)
        return b"%b%08d" % (self._tag, ordinal)
