"""The four delimiters, read from the 106-byte ISA (X12.5; X222A1 appendix B.1.1.2.5).

======================== =========== =========================
element separator        byte 3      after "ISA"
repetition separator     byte 82     ISA11
component separator      byte 104    ISA16
segment terminator       byte 105    after ISA16
======================== =========== =========================

They are trusted only if the ISA really is 106 bytes wide: 16 element separators, the last at byte 103, and no
terminator before byte 105.
"""

from functools import lru_cache

import msgspec

ISA_BYTES = 106


class Delimiters(msgspec.Struct, frozen=True, gc=False):
    """One byte each, all different; `repetition` is a letter or digit in versions that have none."""

    element: bytes
    repetition: bytes
    component: bytes
    segment: bytes


def read_delimiters(isa: bytes) -> Delimiters | None:
    """Read the delimiters from an interchange's first 106 bytes; None if that is no well-formed ISA."""
    if len(isa) < ISA_BYTES or isa[:3] != b"ISA":
        return None
    element, segment = isa[3:4], isa[105:106]
    if isa[103:104] != element or isa.count(element, 0, 104) != 16 or isa.find(segment, 0, 105) >= 0:
        return None
    return _legal(element, isa[82:83], isa[104:105], segment)


@lru_cache(maxsize=64)
def _legal(element: bytes, repetition: bytes, component: bytes, segment: bytes) -> Delimiters | None:
    separators = {element, component, segment}
    if len(separators) < 3 or any(one.isalnum() or one == b" " for one in separators):
        return None
    return Delimiters(element, repetition, component, segment)
