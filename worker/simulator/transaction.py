"""The loops of one generated 837 transaction set: providers, subscribers, families, claims.

::

    HL 20  provider, in turn
     └── HL 22  subscriber               CLM …  own claims (SBR02 = 18)
          └── HL 23  dependent           CLM …  one to three claims each
"""

from collections.abc import Callable, Iterator
from random import Random

from worker.simulator.templates import Household, Kit

_SINGLES: tuple[Household, ...] = ((1, ()), (1, ()), (1, ()), (1, ()), (2, ()))
_SELF = b"18"  # SBR02: the patient is the subscriber


def shares(total: int, parts: int) -> list[int]:
    """Spread `total` over `parts` as evenly as possible, the larger shares first."""
    return [total // parts + (1 if part < total % parts else 0) for part in range(parts)]


class TransactionSet:
    """Writes the loops between header and SE once; then `segments` counts all from ST on, without SE."""

    def __init__(
        self,
        kit: Kit,
        first_ordinal: int,
        rng: Random,
        family_share: float,
        claim_number: Callable[[int, Random], bytes],
    ) -> None:
        self.segments = kit.header.segments
        self._kit = kit
        self._ordinal = first_ordinal
        self._rng = rng
        self._family_share = family_share
        self._claim_number = claim_number
        self._hl = 0

    def loops(self, claims: int) -> Iterator[bytes]:
        """Yield HL 20 to the last claim, `claims` in all."""
        for provider, share in zip(self._kit.providers, shares(claims, len(self._kit.providers)), strict=True):
            if share:
                self._hl += 1
                self.segments += provider.segments
                yield provider.template % self._hl
                yield from self._households(self._hl, share)

    def _households(self, provider_hl: int, claims: int) -> Iterator[bytes]:
        rng, family_share = self._rng, self._family_share
        while claims > 0:
            own, dependents = rng.choice(self._kit.families if rng.random() < family_share else _SINGLES)
            if own + sum(dependents) > claims:
                own, dependents = claims, ()
            claims -= own + sum(dependents)
            yield from self._household(provider_hl, own, dependents)

    def _household(self, provider_hl: int, own: int, dependents: tuple[int, ...]) -> Iterator[bytes]:
        subscriber = self._kit.subscribers[self._ordinal % len(self._kit.subscribers)]
        self._hl += 1
        subscriber_hl = self._hl
        self.segments += subscriber.segments
        relationship = _SELF if own else b""
        yield subscriber.template % (subscriber_hl, provider_hl, bool(dependents), relationship, self._ordinal)
        yield from self._claims(own)
        for count in dependents:
            dependent = self._rng.choice(self._kit.dependents)
            self._hl += 1
            self.segments += dependent.segments
            yield dependent.template % (self._hl, subscriber_hl)
            yield from self._claims(count)

    def _claims(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            claim = self._rng.choice(self._kit.claims)
            self.segments += claim.segments
            yield claim.template % self._claim_number(self._ordinal, self._rng)
            self._ordinal += 1
