"""What reading an 837 yields: findings, a survey of the envelopes, claims with their facts. Plain values."""

import msgspec


class Finding(msgspec.Struct, frozen=True, gc=False):
    """Something a strict reader complains about. `code` is stable, `text` is for people and free of content.

    `severity` is ``warning`` (work goes on) or ``error`` (the batch or the named transaction set is refused).
    `interchange` and `segment` count from 1 within the batch, 0 where that has no meaning.
    """

    code: str
    text: str
    severity: str = "warning"
    interchange: int = 0
    segment: int = 0


class Survey(msgspec.Struct, frozen=True):
    """One pass over the envelopes of a whole batch (ISA/GS/ST … SE/GE/IEA).

    `refusal` is set if nothing of the batch may be sent; its code says why (``empty_input``, ``not_x12``,
    ``isa_width``, ``incomplete``, ``control_number_mismatch`` …). `complete` is False while bytes may still be missing:
    some ISA is not closed by its IEA. `refused_sets` maps a transaction set's place in the batch (from 1)
    to the finding for which its claims are refused. The counts are those of the segments ISA, GS, ST, CLM
    and of all segments.
    """

    complete: bool
    refusal: Finding | None = None
    interchanges: int = 0
    groups: int = 0
    sets: int = 0
    claims: int = 0
    segments: int = 0
    findings: tuple[Finding, ...] = ()
    refused_sets: dict[int, Finding] = {}
    production: bool = False  # an interchange is flagged ISA15 P
    test: bool = False  # an interchange is flagged ISA15 T


class ClaimFacts(msgspec.Struct, frozen=True, gc=False):
    """What the worker needs to know of a claim (x12.md, "Facts needed per claim"); "" where it is absent.

    `claim_type` is ``professional``, ``institutional``, ``dental`` or "" (by GS08/ST03), `provider_tax_id`
    holds digits only, `total_charge` is CLM02 as written. `repr` shows none of it: it is PHI.
    """

    claim_type: str = ""
    guide: str = ""  # ST03, or GS08 where ST03 is absent, for example 005010X222A1
    usage: str = ""  # ISA15
    sender_id: str = ""
    receiver_id: str = ""
    interchange_control_number: str = ""  # of the batch, not of the emitted interchange
    group_control_number: str = ""
    transaction_control_number: str = ""
    batch_reference: str = ""  # BHT03
    provider_npi: str = ""
    provider_tax_id: str = ""
    payer_id: str = ""
    patient_control_number: str = ""
    total_charge: str = ""
    frequency: str = ""

    def __repr__(self) -> str:
        """Show nothing: reprs end in logs."""
        return "<ClaimFacts>"


class SplitClaim(msgspec.Struct, frozen=True, gc=False):
    """One single-claim interchange, or the reason why this claim cannot become one (`interchange` is then b"").

    `ordinal` counts from 1 in file order, refused claims included.
    """

    ordinal: int
    interchange: bytes
    facts: ClaimFacts
    refusal: Finding | None = None

    def __repr__(self) -> str:
        """Show the place only: reprs end in logs."""
        return f"<SplitClaim {self.ordinal}>"
