"""Reads the facts of a claim from its levels: who bills, who pays, which claim.

=================== ====================================================================================
usage               ISA15
sender, receiver    ISA06, ISA08
control numbers     ISA13, GS06, ST02; BHT03
guide, claim type   ST03, or GS08 where the set has none
provider            loop 2010AA: NM1*85, NPI in NM109 if NM108 is XX; tax id in REF*EI, else REF*SY
payer               loop 2010BB: NM1*PR, NM109 if NM108 is PI or XV
claim               CLM01, CLM02, CLM05-3
=================== ====================================================================================

The provider is looked for in the HL 20 block only, the payer in the HL 22 block only: NM1*85, NM1*PR and REF*EI
stand elsewhere with other meanings (2010AC, 2330), and a block ends where the next HL or CLM begins.
Source: X222A1, X223A2, X224A2, the loops named.
"""

from typing import NamedTuple

from worker.x12.decode import text
from worker.x12.delimiters import ISA_BYTES, Delimiters
from worker.x12.patterns import Patterns
from worker.x12.values import ClaimFacts

CLAIM_TYPES = {"005010X222": "professional", "005010X223": "institutional", "005010X224": "dental"}
_DIGITS = b"0123456789"
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in _DIGITS)


class SetFacts(NamedTuple):
    """What all claims of a transaction set have in common; the first fields of `ClaimFacts`, in its order."""

    claim_type: str = ""
    guide: str = ""
    usage: str = ""
    sender_id: str = ""
    receiver_id: str = ""
    interchange_control_number: str = ""
    group_control_number: str = ""
    transaction_control_number: str = ""
    batch_reference: str = ""


class ProviderFacts(NamedTuple):
    """The billing provider of loop 2010AA."""

    npi: str = ""
    tax_id: str = ""


def elements_of(block: bytes, delimiters: Delimiters, least: int) -> list[bytes]:
    """Split a block's first segment into its elements, filled up to at least `least`."""
    elements = block.partition(delimiters.segment)[0].split(delimiters.element)
    return elements + [b""] * (least - len(elements))


def read_set(isa: bytes, gs: bytes, st: bytes, patterns: Patterns) -> SetFacts:
    """Read what an ISA, a GS and an ST block say of every claim below; `gs` is b"" where it is missing."""
    delimiters = patterns.delimiters
    interchange = isa[: ISA_BYTES - 1].split(delimiters.element)
    group = elements_of(gs, delimiters, 9)
    transaction = elements_of(st, delimiters, 4)
    reference = patterns.batch_reference.search(st)
    guide = _word(transaction[3]) or _word(group[8])
    return SetFacts(
        claim_type=CLAIM_TYPES.get(guide[:10], ""),
        guide=guide,
        usage=_word(interchange[15]),
        sender_id=_word(interchange[6]),
        receiver_id=_word(interchange[8]),
        interchange_control_number=_word(interchange[13]),
        group_control_number=_word(group[6]),
        transaction_control_number=_word(transaction[2]),
        batch_reference=text(reference[1]) if reference else "",
    )


def read_provider(block: bytes, patterns: Patterns) -> ProviderFacts:
    """Read NPI and tax id of the billing provider from an HL 20 block."""
    loop = patterns.billing_provider.search(block)
    if loop is None:
        return ProviderFacts()
    name = loop[1].split(patterns.delimiters.element)
    numbers: dict[bytes, bytes] = {}
    for qualifier, number in patterns.tax_id.findall(loop[2]):
        numbers.setdefault(qualifier, number.translate(None, _NO_DIGITS))
    return ProviderFacts(
        npi=_word(name[7]) if len(name) > 7 and name[6] == b"XX" else "",
        tax_id=text(numbers.get(b"EI") or numbers.get(b"SY", b"")),
    )


def read_payer(block: bytes, patterns: Patterns) -> str:
    """Read the payer's id from an HL 22 block."""
    for found in patterns.payer.finditer(block):
        name = found[1].split(patterns.delimiters.element)
        if len(name) > 7 and name[6] in (b"PI", b"XV"):
            return _word(name[7])
    return ""


def read_claim(
    block: bytes, delimiters: Delimiters, of_set: SetFacts, provider: ProviderFacts, payer: str
) -> ClaimFacts:
    """Put a claim's own facts behind those of the levels above it."""
    elements = block[: block.find(delimiters.segment)].split(delimiters.element, 6)
    known = len(elements)
    place = elements[5].split(delimiters.component) if known > 5 else ()
    return ClaimFacts(
        *of_set,
        *provider,
        payer,
        text(elements[1]) if known > 1 else "",
        text(elements[2]) if known > 2 else "",
        text(place[2]) if len(place) > 2 else "",
    )


def _word(element: bytes) -> str:
    return text(element.strip())
