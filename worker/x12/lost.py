"""Finds the trace of a CLM or HL that is lost: segments of a claim or level where none of theirs may stand.

::

    HL 20   HL 22 SBR …   HL 23 PAT …     no LX and no HI: these are a claim's
    CLM … HI … SBR … LX … LX …            behind the first LX no HI, SBR or PAT: these begin a claim or a level

A CLM that is misspelt or was never written leaves its claim to the block before it, and an HL the claims below it to
another subscriber or patient; nothing else in the set need be wrong. Source: X222A1, X223A2, X224A2, loops 2000A to
2400.
"""

from worker.x12.patterns import HL, Patterns

_LEVELS, _CLAIM, _LINES = range(3)


class LossFinder:
    """Follows the blocks of one transaction set, in file order."""

    __slots__ = ("_findall", "_within")

    def __init__(self, patterns: Patterns) -> None:
        self._findall = patterns.telling.findall
        self._within = _LEVELS

    def see_claim(self, block: bytes) -> bool:
        """As `see`, of a block that begins with CLM."""
        self._within = _CLAIM
        return self.see(block)

    def see(self, block: bytes) -> bool:
        """Look at the next block; True if something in it tells that a CLM or HL is lost."""
        within, lost = self._within, False
        for name in self._findall(block):
            if name == HL:
                within = _LEVELS
            elif name == b"LX":
                lost |= within == _LEVELS
                within = _LINES
            elif name == b"HI":
                lost |= within != _CLAIM
            else:
                lost |= within == _LINES
        self._within = within
        return lost
