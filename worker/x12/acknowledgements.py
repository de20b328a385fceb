r"""Takes an answer's X12 apart: interchanges, transaction sets, segments, and whether all of it arrived.

Lenient where a sender may be odd: delimiters of its own in every ISA, an ISA that is not padded, line ends
between segments, several interchanges, control numbers of zero, wrong counts. Strict in one thing: an answer
is *complete* only if every ISA is closed by an IEA and every ST by an SE, the last terminator included, so
that no prefix of an answer passes for the answer. Control numbers never tell whose answer this is.

Nothing here raises, whatever the bytes, and the time taken grows with their number only (X12.5; X222A1
appendix B.1.1).
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

# Around segments and interchanges: line ends, blanks, the end-of-file mark of DOS, NUL, a byte order mark.
_BREAKS = "\t\r\n\x0b\x0c\x1a\x00\ufeff"
_PADDING = " " + _BREAKS
_ISA_SEPARATORS = 16
_ISA_END = 103  # where the last separator stands if the ISA is as wide as the standard wants it
LONGEST_ISA = 212  # twice what the standard fixes
_KNOWN_SETS = frozenset({"999", "277", "837"})


class AnswerSet(msgspec.Struct, frozen=True, gc=False):
    """One transaction set without its ST and SE. `kind` is ST01, the others are delimiters and segments."""

    kind: str
    element: str
    component: str
    segments: list[str]

    def __repr__(self) -> str:
        """Leave the segments out: reprs end in logs."""
        return f"<AnswerSet {len(self.segments)}>"


class AnswerSets(msgspec.Struct, frozen=True, gc=False):
    """What all interchanges of an answer hold; `complete` only if nothing is missing at any end.

    Each of `ta1s` is a TA1 segment, taken apart.
    """

    complete: bool
    sets: list[AnswerSet]
    ta1s: list[list[str]]


class Marks(msgspec.Struct, frozen=True, gc=False):
    """Delimiters; `controls` finds the segments that hold an answer together, and blanks before a segment."""

    element: str
    component: str
    segment: str
    controls: Callable[[str], list[str]]
    usual_controls: list[str]


def kind_of(data: bytes | str) -> str | None:
    """Tell what an answer holds: ``999``, ``277``, ``837`` (a claim sent back), ``TA1``, or None for anything else.

    The first transaction set decides; ``TA1`` only if there is none.
    """
    text = _text(data)
    if not text.startswith("ISA"):
        return None
    element = text[3:4]
    place = _segment(text, "ST" + element)
    if place < 0:
        return "TA1" if _segment(text, "TA1" + element) >= 0 else None
    kind = text[place + 3 : place + 7].split(element)[0] if element else ""
    return kind if kind in _KNOWN_SETS else None


def read_sets(data: bytes | str) -> AnswerSets:
    """Take apart an answer's interchanges; empty and incomplete for what is no X12. Bytes are read as UTF-8."""
    text = _text(data)
    sets: list[AnswerSet] = []
    ta1s: list[list[str]] = []
    start = 0 if text.startswith("ISA") else -1
    complete = start == 0
    while start >= 0:
        marks = read_marks(text[start : start + LONGEST_ISA])
        if marks is None:
            complete = False  # what begins like an ISA and is none
            break
        if start == 0 and (only := _only_set(text, marks)):
            return AnswerSets(True, [only], ta1s)
        end = _next_isa(text, start, marks.segment)
        if not _collect(text[start:end] if end >= 0 else text[start:], marks, sets, ta1s):
            complete = False
        start = end
    return AnswerSets(complete, sets, ta1s)


def is_whole(data: bytes | str) -> bool:
    """Tell whether an answer is complete and nothing but interchanges, so that others may follow it in a file."""
    text = _text(data)
    if not read_sets(text).complete:
        return False
    start = 0
    while start >= 0:
        marks = read_marks(text[start : start + LONGEST_ISA])
        if marks is None:
            return False
        end = _next_isa(text, start, marks.segment)
        part = text[start:end] if end >= 0 else text[start:]
        last = _terminated(part, marks)[-1]
        if not last.startswith("IEA") or part.rpartition(marks.segment)[2].strip(_PADDING) not in ("", last):
            return False
        start = end
    return True


def at(segment: list[str], position: int) -> str:
    """Return the element at `position`, 1 being the first after the tag; "" where the segment is shorter."""
    return segment[position].strip() if len(segment) > position else ""


def number(text: str) -> int | None:
    """Read a count or a position; None for anything but a few plain digits."""
    return _small_number(text) if len(text) < 10 else None


@lru_cache(maxsize=1024)
def _small_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _segment(text: str, start: str) -> int:
    """Find where a segment begins with `start`: after a terminator, thus not after a letter or digit."""
    found = text.find(start, 3)
    while found >= 0 and text[found - 1].isalnum():
        found = text.find(start, found + 1)
    return found


def _text(data: bytes | str) -> str:
    return (data if isinstance(data, str) else data.decode("utf-8", "replace")).lstrip(_PADDING)


def _next_isa(text: str, start: int, terminator: str) -> int:
    """Find the next ISA that begins a segment; its three letters alone may stand in a name."""
    found = text.find("ISA", start + 3)
    while found >= 0:
        before = found - 1
        while text[before] in _PADDING and text[before] != terminator:
            before -= 1
        if text[before] == terminator:
            return found
        found = text.find("ISA", found + 3)
    return -1


def read_marks(isa: str) -> Marks | None:
    """Read the delimiters by counting separators, so that an ISA without its padding is read as well."""
    element = isa[3:4]
    if isa[_ISA_END : _ISA_END + 1] == element and isa.count(element, 0, _ISA_END + 1) == _ISA_SEPARATORS:
        return _legal_marks(element, isa[_ISA_END + 1 : _ISA_END + 2], isa[_ISA_END + 2 : _ISA_END + 3])
    parts = isa.split(element, _ISA_SEPARATORS) if element else []
    if len(parts) <= _ISA_SEPARATORS:
        return None
    return _legal_marks(element, parts[-1][:1], parts[-1][1:2])


@lru_cache(maxsize=64)
def _legal_marks(element: str, component: str, segment: str) -> Marks | None:
    if len({element, component, segment, ""}) < 4 or (element + component + segment).isalnum():
        return None
    usual = [f"{segment}ST{element}", f"{segment}SE{element}", f"{segment}IEA"]
    unusual = [f"{segment}ISA", f"{segment}TA1", f"{segment} "]
    controls = re.compile("|".join(map(re.escape, usual + unusual)))
    return Marks(element, component, segment, controls.findall, usual)


def _collect(text: str, marks: Marks, sets: list[AnswerSet], ta1s: list[list[str]]) -> bool:
    """Add the sets and TA1s of one interchange; True if interchange and sets are closed."""
    element, component = marks.element, marks.component
    tag_of = {"ST" + element: "ST", "SE" + element: "SE", "IEA": "IEA", "TA1": "TA1"}.get
    closed = False
    open_sets = 0
    segments: list[str] = []
    for piece in _terminated(text, marks):
        tag = tag_of(piece[:3])
        if tag is None:
            segments.append(piece)
        elif tag == "ST":
            open_sets += 1
            segments = []
            sets.append(AnswerSet(at(piece.split(element, 2), 1), element, component, segments))
        elif tag == "SE":
            open_sets -= 1
            segments = []
        elif tag == "IEA":
            closed = True
        else:
            ta1s.append(piece.split(element))
    return closed and open_sets == 0


def _only_set(text: str, marks: Marks) -> AnswerSet | None:
    """Read what most answers are: one interchange around one set, closed, unpadded, no TA1; None for any other."""
    if marks.controls(text) != marks.usual_controls or has_break(text):
        return None
    terminator = marks.segment
    start, end, trailer = [text.find(control) for control in marks.usual_controls]
    if text.find(terminator, trailer + 1) < 0:
        return None
    head, *segments = text[start + 1 : end].split(terminator)
    return AnswerSet(at(head.split(marks.element, 2), 1), marks.element, marks.component, segments)


def _terminated(text: str, marks: Marks) -> list[str]:
    """Return the segments that have their terminator; what follows the last one may be half a segment."""
    terminator = marks.segment
    pieces = text.split(terminator)
    rest = pieces.pop().strip(_PADDING)
    if has_break(text) or terminator + " " in text:
        pieces = [segment for piece in pieces if (segment := piece.strip(_PADDING))]
    # Where a line end is the terminator, the last one is easily trimmed; ISA13 then proves the IEA whole.
    if terminator in _BREAKS and rest.startswith("IEA") and _same_control_number(pieces[0], rest, marks.element):
        pieces.append(rest)
    return pieces


def has_break(text: str) -> bool:
    """Tell whether there is anything around the segments, or the terminator is a line end."""
    for each in _BREAKS:  # noqa: SIM110 - a generator costs more than all its eight searches
        if each in text:
            return True
    return False


def _same_control_number(isa: str, iea: str, element: str) -> bool:
    return at(isa.split(element), 13) == at(iea.split(element), 2) != ""
