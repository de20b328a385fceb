"""A second reading of X12, slow and plain, to hold the fast one against; and a writer of synthetic batches."""

import re
from dataclasses import dataclass, field
from itertools import count

STRUCTURE = {b"ISA", b"TA1", b"GS", b"ST", b"SE", b"GE", b"IEA"}


@dataclass
class Interchange:
    element: bytes
    component: bytes
    terminator: bytes
    segments: list[bytes] = field(default_factory=list)

    def split(self, segment: bytes) -> list[bytes]:
        return segment.split(self.element)

    def named(self, *identifiers: bytes) -> list[list[bytes]]:
        return [self.split(one) for one in self.segments if self.split(one)[0].upper() in identifiers]

    def claims(self) -> list[list[bytes]]:
        """The segments of each claim: CLM up to the next CLM, HL or SE."""
        found: list[list[bytes]] = []
        inside = False
        for segment in self.segments:
            identifier = self.split(segment)[0].upper()
            if identifier in (b"HL", b"SE"):
                inside = False
            if identifier == b"CLM":
                inside = True
                found.append([])
            if inside:
                found[-1].append(segment)
        return found


def interchanges(data: bytes) -> list[Interchange]:
    """Read whole interchanges byte by byte; empty segments are left out."""
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    found: list[Interchange] = []
    while data.startswith(b"ISA"):
        if re.search(rb"[\r\n]", data[:105]):
            data = data.replace(b"\r", b"").replace(b"\n", b"")
        one = Interchange(data[3:4], data[104:105], data[105:106])
        gap = bytes(set(b" \t\r\n") - set(one.terminator))
        while not (one.segments and one.split(one.segments[-1])[0].upper() == b"IEA"):
            segment, _, data = data.partition(one.terminator)
            if segment.strip(gap):
                one.segments.append(segment.lstrip(gap))
            assert data or one.split(segment.lstrip(gap))[0] == b"IEA"
        found.append(one)
        data = data.lstrip(b" \t\r\n\x1a")
    return found


def one_interchange(data: bytes) -> Interchange:
    (only,) = interchanges(data)
    return only


def assert_single_claim(child: bytes, levels: bool = True) -> Interchange:
    """Check that an emitted interchange is well formed and holds one claim under 2 or 3 rightly numbered levels."""
    read = one_interchange(child)
    assert child.endswith(read.terminator)
    shape = [read.split(segment)[0].upper() for segment in read.segments]
    assert [name for name in shape if name in STRUCTURE - {b"TA1"}] == [b"ISA", b"GS", b"ST", b"SE", b"GE", b"IEA"]
    assert shape.count(b"CLM") == 1
    isa, gs, st, se, ge, iea = read.named(b"ISA", b"GS", b"ST", b"SE", b"GE", b"IEA")
    start, end = shape.index(b"ST"), shape.index(b"SE")
    assert int(se[1]) == end - start + 1
    assert se[2] == st[2]
    assert int(ge[1]) == 1
    assert ge[2] == gs[6]
    assert int(iea[1]) == 1
    assert iea[2] == isa[13]
    assert len(isa[13]) == 9
    if levels:
        assert int(isa[13]) == int(gs[6])
        hl = read.named(b"HL")
        assert [one[:5] for one in hl] == [
            [b"HL", b"1", b"", b"20", b"1"],
            [b"HL", b"2", b"1", b"22", b"1" if len(hl) == 3 else b"0"],
            [b"HL", b"3", b"2", b"23", b"0"],
        ][: len(hl)]
        assert len(hl) in (2, 3)
        before_claim = read.segments[: shape.index(b"CLM")]
        subscriber = next(read.split(one) for one in before_claim if read.split(one)[0].upper() == b"SBR")
        assert len(hl) == 2 or subscriber[2:3] != [b"18"]
    return read


@dataclass(frozen=True)
class Style:
    """How a batch is written."""

    element: bytes = b"*"
    repetition: bytes = b"^"
    component: bytes = b":"
    terminator: bytes = b"~"
    gap: bytes = b"\n"
    ta1: bool = False


@dataclass(frozen=True)
class Subscriber:
    own_claims: int = 1
    dependents: tuple[int, ...] = ()  # claims of each


Provider = tuple[Subscriber, ...]
TransactionSet = tuple[Provider, ...]
Group = tuple[TransactionSet, ...]


@dataclass(frozen=True)
class Expected:
    """What must come out for one claim."""

    patient_control_number: str
    provider_tax_id: str
    payer_id: str
    levels: int


class BatchWriter:
    """Writes batches claim by claim and notes what must come out; every identifier in it is invented."""

    def __init__(self) -> None:
        self.expected: list[Expected] = []
        self.segments = 0
        self._serial = count(1)

    def interchange(self, number: int, groups: tuple[Group, ...], style: Style) -> bytes:
        isa = (
            f"ISA*00*          *00*          *ZZ*SENDERID       *ZZ*RECEIVERID     *250115*1200*^*00501"
            f"*{number:09}*0*T*:"
        )
        lines = [isa]
        if style.ta1:
            lines.append("TA1*000000001*250115*1200*A*000")
        for place, group in enumerate(groups, 1):
            lines.append(f"GS*HC*SENDERGS*RECVGS*20250115*1200*{place}*X*005010X222A1")
            for control, transaction in enumerate(group, 1):
                lines += self._transaction(f"{control:04}", transaction)
            lines.append(f"GE*{len(group)}*{place}")
        lines.append(f"IEA*{len(groups)}*{number:09}")
        self.segments += len(lines)
        return style.gap.join(_styled(line, style) + style.terminator for line in lines)

    def _transaction(self, control: str, providers: TransactionSet) -> list[str]:
        lines = [f"ST*837*{control}*005010X222A1", f"BHT*0019*00*REF{control}*20250115*1200*CH"]
        lines += ["NM1*41*2*ACME BILLING*****46*SUBM001", "PER*IC*JANE DOE*TE*5555551212"]
        lines += ["NM1*40*2*CLEARINGHOUSE X*****46*RCVR001"]
        levels = count(1)
        for subscribers in providers:
            lines += self._provider(levels, subscribers)
        return [*lines, f"SE*{len(lines) + 1}*{control}"]

    def _provider(self, levels: "count[int]", subscribers: Provider) -> list[str]:
        level, serial = next(levels), next(self._serial)
        tax_id = f"{serial:09}"
        lines = [f"HL*{level}**20*1", "PRV*BI*PXC*207Q00000X", f"NM1*85*2*CLINIC {serial}*****XX*1999999984"]
        lines += ["N3*1 A ST", "N4*TAMPA*FL*336011111", "REF*SY*777777777", f"REF*EI*{tax_id[:2]}-{tax_id[2:]}"]
        lines += ["NM1*87*2", "N3*2 A ST", "NM1*PE*2*OTHER*****XV*99999", "REF*EI*999999999"]
        for subscriber in subscribers:
            lines += self._subscriber(levels, level, tax_id, subscriber)
        return lines

    def _subscriber(self, levels: "count[int]", parent: int, tax_id: str, one: Subscriber) -> list[str]:
        level, serial = next(levels), next(self._serial)
        payer = f"PAY{serial}"
        lines = [f"HL*{level}*{parent}*22*{int(bool(one.dependents))}"]
        lines += [f"SBR*P*{'18' if one.own_claims else ''}*GRP******CI", f"NM1*IL*1*SMITH*JOHN****MI*M{serial}"]
        lines += ["N3*9 OAK", f"NM1*PR*2*PAYER {serial}*****PI*{payer}", "REF*2U*EI"]
        for _ in range(one.own_claims):
            lines += self._claim(tax_id, payer, 2)
        for claims in one.dependents:
            lines += [f"HL*{next(levels)}*{level}*23*0", "PAT*19", "NM1*QC*1*SMITH*KID", "DMG*D8*20100101*F"]
            for _ in range(claims):
                lines += self._claim(tax_id, payer, 3)
        return lines

    def _claim(self, tax_id: str, payer: str, levels: int) -> list[str]:
        number = f"PCN{next(self._serial)}"
        self.expected.append(Expected(number, tax_id, payer, levels))
        return [
            f"CLM*{number}*100***11:B:7*Y*A*Y*Y",
            "HI*ABK:J029",
            "NM1*82*1*JONES*BEN****XX*1888888876",
            "SBR*S*18*GRP2******CI",
            "NM1*PR*2*OTHER PAYER*****PI*OTHER",
            "NM1*85*2",
            "REF*EI*888888888",
            "LX*1",
            "SV1*HC:99213*100*UN*1***1",
            "DTP*472*D8*20250110",
        ]


def _styled(line: str, style: Style) -> bytes:
    marks = {b"*": style.element, b":": style.component, b"^": style.repetition}
    return re.sub(rb"[*:^]", lambda mark: marks[mark[0]], line.encode())


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
