"""The blocks of an 837 as byte templates, made once and then only filled in.

====================== ================================================ =============================================
block                  loops (X222A1, X223A2)                           filled in with
====================== ================================================ =============================================
`interchange`          ISA                                              ISA13
`group`                GS                                               GS06
`header`               ST, BHT, 1000A, 1000B                            ST02, BHT03
`providers`            2000A, 2010AA                                    HL01
`subscribers`          2000B, 2010BA, 2010BB                            HL01, HL02, HL04, SBR02, member number
`dependents`           2000C, 2010CA                                    HL01, HL02
`claims`               2300 to 2400                                     CLM01
====================== ================================================ =============================================

Each is written here with the usual delimiters and translated to those asked for.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from worker.simulator import identities
from worker.x12 import Delimiters

PROFESSIONAL_GUIDE = "005010X222A1"
INSTITUTIONAL_GUIDE = "005010X223A2"
USUAL_DELIMITERS = Delimiters(b"*", b"^", b":", b"~")

_VARIANTS = 48
_OFFICE_VISITS = ("99203", "99212", "99213", "99214", "36415", "87880", "90471", "81002")
_OUTPATIENT_LINES = (("0300", "80053"), ("0450", "99283"), ("0636", "J1885"), ("0730", "93005"), ("0320", "71046"))
_DIAGNOSES = ("J029", "E119", "I10", "M545", "R0789", "Z0000", "N390", "K219")


Household = tuple[int, tuple[int, ...]]  # how many claims of the subscriber's own, how many of each dependent

_DEPENDENTS_ONLY: tuple[Household, ...] = ((0, (1,)), (0, (1, 3)), (0, (2, 1, 1)), (0, (2,)))
_FAMILIES: tuple[Household, ...] = ((1, (1,)), (1, (2, 1)), (2, (1,)), (1, (2,)), *_DEPENDENTS_ONLY)


class Block(msgspec.Struct, frozen=True, gc=False):
    """A template for the ``%`` operator, and how many segments it writes."""

    template: bytes
    segments: int


class Layout(msgspec.Struct, frozen=True):
    """How the text is to look: its delimiters, and what follows each segment terminator."""

    delimiters: Delimiters = USUAL_DELIMITERS
    newline: bytes = b"\n"

    def block(self, *segments: str) -> Block:
        """Make a template of segments written with the usual delimiters."""
        table = bytes.maketrans(_joined(USUAL_DELIMITERS), _joined(self.delimiters))
        end = self.delimiters.segment + self.newline
        return Block(b"".join(s.encode("ascii").translate(table) + end for s in segments), len(segments))


def _joined(delimiters: Delimiters) -> bytes:
    return delimiters.element + delimiters.repetition + delimiters.component + delimiters.segment


class Envelope(msgspec.Struct, frozen=True):
    """ISA and its trailers, filled in with control numbers and counts."""

    interchange: Block
    interchange_trailer: Block
    group_trailer: Block
    set_trailer: Block


class Kit(msgspec.Struct, frozen=True):
    """All blocks for one kind of claim; of the repeated ones there are variants to choose from."""

    families: Sequence[Household]
    group: Block
    header: Block
    providers: Sequence[Block]
    subscribers: Sequence[Block]
    dependents: Sequence[Block]
    claims: Sequence[Block]


def envelope(layout: Layout, *, usage: str, date: str) -> Envelope:
    """Make the blocks around the functional groups."""
    parties = "00*          *00*          *ZZ*TSTSENDER      *ZZ*TSTRECEIVER    "
    return Envelope(
        interchange=layout.block(f"ISA*{parties}*{date[2:]}*1200*^*00501*%09d*0*{usage}*:"),
        interchange_trailer=layout.block("IEA*%d*%09d"),
        group_trailer=layout.block("GE*%d*%d"),
        set_trailer=layout.block("SE*%d*%04d"),
    )


def professional_kit(
    layout: Layout, *, guide: str, date: str, providers: int, payers: Sequence[str], rng: Random
) -> Kit:
    """Make the blocks of an 837P (X222A1, or `guide`)."""
    return Kit(
        families=_FAMILIES,
        group=_group(layout, guide or PROFESSIONAL_GUIDE, date),
        header=_header(layout, guide or PROFESSIONAL_GUIDE, date),
        providers=[_provider(layout, n, "CLINIC", "207Q00000X") for n in range(providers)],
        subscribers=[_subscriber(layout, n, payers[n % len(payers)], rng) for n in range(_variants(payers))],
        dependents=[_dependent(layout, rng) for _ in range(_VARIANTS)],
        claims=[_professional_claim(layout, date, rng) for _ in range(_VARIANTS)],
    )


def institutional_kit(
    layout: Layout, *, guide: str, date: str, providers: int, payers: Sequence[str], rng: Random
) -> Kit:
    """Make the blocks of an 837I (X223A2, or `guide`).

    A subscriber has own claims or dependents, never both: the guide allows it, but pyx12's map of it does not.
    """
    return Kit(
        families=_DEPENDENTS_ONLY,
        group=_group(layout, guide or INSTITUTIONAL_GUIDE, date),
        header=_header(layout, guide or INSTITUTIONAL_GUIDE, date),
        providers=[_provider(layout, 500 + n, "HOSPITAL", "282N00000X") for n in range(providers)],
        subscribers=[_subscriber(layout, n, payers[n % len(payers)], rng) for n in range(_variants(payers))],
        dependents=[_dependent(layout, rng) for _ in range(_VARIANTS)],
        claims=[_institutional_claim(layout, date, rng) for _ in range(_VARIANTS)],
    )


def _variants(payers: Sequence[str]) -> int:
    """Return a number of variants that gives every payer the same share."""
    return len(payers) * -(-_VARIANTS // len(payers))


def _group(layout: Layout, guide: str, date: str) -> Block:
    return layout.block(f"GS*HC*TSTSENDER*TSTRECEIVER*{date}*1200*%d*X*{guide}")


def _header(layout: Layout, guide: str, date: str) -> Block:
    return layout.block(
        f"ST*837*%04d*{guide}",
        f"BHT*0019*00*%b*{date}*1200*CH",
        "NM1*41*2*EXAMPLE BILLING SERVICE*****46*TSTSUB01",
        "PER*IC*SAMPLE CONTACT*TE*8005550100*EM*EDI@EXAMPLE.COM",
        "NM1*40*2*EXAMPLE CLEARINGHOUSE*****46*TSTRCV01",
    )


def _provider(layout: Layout, number: int, noun: str, taxonomy: str) -> Block:
    town, state = identities.TOWNS[number % len(identities.TOWNS)]
    return layout.block(
        "HL*%d**20*1",
        f"PRV*BI*PXC*{taxonomy}",
        f"NM1*85*2*EXAMPLE {noun} {number + 1:03d}*****XX*{identities.npi(number)}",
        f"N3*{100 + number} SAMPLE PLAZA",
        f"N4*{town}*{state}*{identities.postal_code(number)}",
        f"REF*EI*{identities.tax_id(number)}",
    )


def _subscriber(layout: Layout, number: int, payer: str, rng: Random) -> Block:
    return layout.block(
        "HL*%d*%d*22*%d",
        f"SBR*P*%b*TSTGRP{number:04d}******CI",
        f"NM1*IL*1*{_person(rng)}****MI*TST%09d",
        *_address_and_birth(rng, 1940, 2000),
        f"NM1*PR*2*EXAMPLE HEALTH PLAN {payer}*****PI*{payer}",
        f"N3*PO BOX {1000 + number}",
        "N4*EXAMPLETON*MN*00100",
    )


def _dependent(layout: Layout, rng: Random) -> Block:
    return layout.block("HL*%d*%d*23*0", "PAT*19", f"NM1*QC*1*{_person(rng)}", *_address_and_birth(rng, 2008, 2023))


def _person(rng: Random) -> str:
    return f"{rng.choice(identities.LAST_NAMES)}*{rng.choice(identities.FIRST_NAMES)}"


def _address_and_birth(rng: Random, first_year: int, last_year: int) -> tuple[str, str, str]:
    town, state = rng.choice(identities.TOWNS)
    born = f"{rng.randint(first_year, last_year)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    return (
        f"N3*{rng.choice(identities.STREETS)}",
        f"N4*{town}*{state}*{identities.postal_code(rng.randrange(100))}",
        f"DMG*D8*{born}*{rng.choice('FM')}",
    )


def _professional_claim(layout: Layout, date: str, rng: Random) -> Block:
    lines = [(rng.choice(_OFFICE_VISITS), rng.randint(20, 400)) for _ in range(rng.choice((1, 2, 2, 3)))]
    diagnoses = rng.sample(_DIAGNOSES, 2)
    segments = [
        f"CLM*%b*{sum(charge for _, charge in lines)}***11:B:1*Y*A*Y*Y",
        f"DTP*431*D8*{date}",
        f"HI*ABK:{diagnoses[0]}*ABF:{diagnoses[1]}",
        f"NM1*82*1*RENDERER*{rng.choice(identities.FIRST_NAMES)}****XX*{identities.npi(1000 + rng.randrange(90))}",
        "PRV*PE*PXC*207Q00000X",
    ]
    for number, (code, charge) in enumerate(lines, start=1):
        segments += [f"LX*{number}", f"SV1*HC:{code}*{charge}*UN*1***1:2", f"DTP*472*D8*{date}"]
    return layout.block(*segments)


def _institutional_claim(layout: Layout, date: str, rng: Random) -> Block:
    lines = [(*rng.choice(_OUTPATIENT_LINES), rng.randint(50, 1900)) for _ in range(rng.choice((1, 2, 2, 3)))]
    diagnoses = rng.sample(_DIAGNOSES, 2)
    segments = [
        f"CLM*%b*{sum(charge for *_, charge in lines)}***13:A:1**A*Y*Y",
        f"DTP*434*RD8*{date}-{date}",
        "CL1*1*1*01",
        f"HI*ABK:{diagnoses[0]}",
        f"HI*ABF:{diagnoses[1]}",
        f"NM1*71*1*ATTENDER*{rng.choice(identities.FIRST_NAMES)}****XX*{identities.npi(2000 + rng.randrange(90))}",
    ]
    for number, (revenue, code, charge) in enumerate(lines, start=1):
        segments += [f"LX*{number}", f"SV2*{revenue}*HC:{code}*{charge}*UN*1", f"DTP*472*D8*{date}"]
    return layout.block(*segments)
