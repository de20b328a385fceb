r"""Cuts a stream of chunks into blocks: a boundary segment and all that follows it up to the next boundary.

The blocks of an interchange, put together, are its bytes. Which segments are boundaries depends on the reader's
purpose: the survey asks for the envelopes and claims, the splitter for the HL levels as well::

    ISA… TA1…   GS…   ST… BHT… NM1*41…   HL… NM1*85…   HL… SBR…   CLM… LX…   SE…   GE…   IEA…~
    └─ISA────┘  └GS┘  └─ST────────────┘  └─HL───────┘  └─HL───┘   └─CLM───┘  └SE┘  └GE┘  └IEA┘

Around interchanges white space, byte order marks and 0x1A are skipped. Each interchange is read by the delimiters
of its own ISA. A file wrapped at a fixed width (line breaks anywhere, within the ISA as well) is unwrapped from
there on. Memory is bounded by the chunk size and `largest`; a larger block comes in pieces.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

from worker.x12.delimiters import ISA_BYTES, Delimiters, read_delimiters
from worker.x12.patterns import ENVELOPE_NAMES, IEA, ISA, LEVEL_NAMES, MORE, ODD, Patterns, patterns_for

WINDOW = 512  # bytes looked at before an interchange is begun
LONGEST_NAME = 3  # of a segment
OVERLAP = 64  # more than the longest thing searched for in junk

AROUND = b" \t\r\n\x0b\x0c\x1a\xef\xbb\xbf"
_ISA_AT_HAND = re.compile(rb"ISA[^A-Za-z0-9\s]|ISA\t")
_ISA_IN_JUNK = re.compile(rb"ISA([^\w\s])0[03]\1")

_FindIter = Callable[[bytes], Iterator[re.Match[bytes]]]
Ending = Literal["", "empty_input", "not_x12", "isa_width", "incomplete"]


class Reader:
    """Reads one batch once. Between two blocks, the attributes say what holds where reading stands.

    `ending` is "" or the code of the refusal for which reading stopped, `start` then the bytes it stopped at.
    `oversize` is True while the block just yielded is only the first piece of a larger one; the other
    pieces are named `MORE`. `junk` and `stray` tell what was found between interchanges,
    `unterminated` that the last IEA lacked its terminator (which was added).
    """

    delimiters: Delimiters
    patterns: Patterns

    def __init__(
        self, chunks: Iterable[bytes], boundaries: Literal["envelope", "levels"], *, largest: int = 1 << 20
    ) -> None:
        self.ending: Ending = ""
        self.start = b""
        self.oversize = self.junk = self.stray = self.unterminated = False
        self._chunks = iter(chunks)
        self._buffer = b""
        self._boundaries = boundaries
        self._largest = largest
        self._wrapped = False
        self._begun = False

    def blocks(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (name of the boundary, bytes) in file order, the first of each interchange named ISA."""
        while not self.ending and self._find_interchange():
            self._begun = True
            yield from self._interchange()

    def _more(self) -> bool:
        """Append the next chunk; False at the end of the bytes."""
        for chunk in self._chunks:
            if chunk:
                self._buffer += chunk.translate(None, b"\r\n") if self._wrapped else chunk
                return True
        return False

    def _find_interchange(self) -> bool:
        """Go to the next ISA and take its delimiters; False if there is none or it cannot be read."""
        around = AROUND + self.delimiters.segment if self._begun else AROUND
        while True:
            self._buffer = buffer = self._buffer.lstrip(around)
            if len(buffer) < WINDOW and self._more():
                continue
            if _ISA_AT_HAND.match(buffer):
                return self._begin()
            if not buffer or (len(buffer) < 3 and not self._begun):
                return self._end("" if self._begun else "empty_input")
            if b"ISA".startswith(buffer):
                return self._end("incomplete")
            if not self._begun:
                return self._end("not_x12")
            self._skip_junk()

    def _end(self, ending: Ending) -> bool:
        self.ending = ending
        self.start = self._buffer[:8]
        return False

    def _begin(self) -> bool:
        buffer = self._buffer
        delimiters = read_delimiters(buffer[:ISA_BYTES])
        if delimiters is None or is_wrapped(buffer[:WINDOW], delimiters):
            self._buffer = buffer = buffer.translate(None, b"\r\n")
            delimiters = read_delimiters(buffer[:ISA_BYTES])
            self._wrapped = delimiters is not None
        if delimiters is None:
            return self._end("incomplete" if len(buffer) < ISA_BYTES else "isa_width")
        self.delimiters = delimiters
        self.patterns = patterns_for(delimiters)
        return True

    def _skip_junk(self) -> None:
        """Drop what is no X12 up to the next ISA or the end, and note whether segments are among it."""
        self.junk = True
        while True:
            found = _ISA_IN_JUNK.search(self._buffer)
            end = found.start() if found else len(self._buffer)
            if self.patterns.stray.search(self._buffer, 0, end):
                self.stray = True
            if found:
                self._buffer = self._buffer[end:]
                return
            self._buffer = self._buffer[-OVERLAP:]
            if not self._more():
                self._buffer = b""
                return

    def _interchange(self) -> Iterator[tuple[bytes, bytes]]:
        finditer, names = self._boundary_search()
        name = ISA
        while True:
            buffer, start = self._buffer, 0
            for match in () if name is IEA else finditer(buffer):
                following = names.get(match[1])
                if following is None:
                    continue
                at = match.start(1)
                if following is ODD and len(buffer) - at < LONGEST_NAME + 1:
                    break  # the end of this chunk may cut an identifier in lower case
                yield name, buffer[start:at]
                name, start = following, at
                if following is IEA:
                    break
            self._buffer = buffer[start:]
            if name is IEA and self._closed():
                yield IEA, self._take_trailer()
                return
            for piece in self._oversize():
                yield name, piece
                self.oversize, name = False, MORE
            if not self._more():
                yield self._last(name)
                return

    def _boundary_search(self) -> tuple[_FindIter, Mapping[bytes, bytes]]:
        if self._boundaries == "levels":
            return self.patterns.levels.finditer, LEVEL_NAMES
        return self.patterns.envelope.finditer, ENVELOPE_NAMES

    def _closed(self) -> bool:
        return self.delimiters.segment in self._buffer

    def _take_trailer(self) -> bytes:
        end = self._buffer.index(self.delimiters.segment) + 1
        trailer, self._buffer = self._buffer[:end], self._buffer[end:]
        return trailer

    def _oversize(self) -> Iterator[bytes]:
        """Give up what was read of the block if that is more than may be held.

        The last terminator stays while a boundary may follow it.
        """
        buffer, largest = self._buffer, self._largest
        if len(buffer) <= largest:
            return
        end = buffer.rfind(self.delimiters.segment)
        if len(buffer) - end <= largest:
            if end <= largest:
                return
            piece, self._buffer = buffer[:end], buffer[end:]
        elif end >= 0 and not buffer[end + 1 :].lstrip(self.patterns.gap):
            piece, self._buffer = buffer[:end], self.delimiters.segment
        else:
            piece, self._buffer = buffer, b""
        self.oversize = True
        yield piece

    def _last(self, name: bytes) -> tuple[bytes, bytes]:
        """Take what is left at the end of the bytes: an IEA without terminator, or a torn interchange."""
        rest, self._buffer = self._buffer, b""
        if name is not IEA:
            self.ending = "incomplete"
            return name, rest
        self.unterminated = True
        return IEA, rest.rstrip(AROUND) + self.delimiters.segment


def is_wrapped(head: bytes, delimiters: Delimiters) -> bool:
    """Tell whether the first line ends within a segment, which no line end after a terminator does."""
    if delimiters.segment in b"\r\n":
        return False
    line, line_end, _ = head.partition(b"\n" if b"\n" in head else b"\r")
    return bool(line_end) and not line.rstrip(b" \t\r").endswith(delimiters.segment)
