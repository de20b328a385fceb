"""A case against load: how large the share of losses was when the cuts began, and what was seen well below."""

import math

CONTRAST = 0.8  # of the limit at which the cuts began: what lies below is evidence
SAME_SHARE = 0.6  # of the share when the cuts began: so much below, and load is not to blame
PROOF_LOSSES = 12  # to be expected below, for the case to be closed
LEAST_CONTRAST = 50  # attempts below, before the case may be closed by what they show


class Case:
    """The limit when the cuts began, the loss share there, at least how large it was, and what was seen well below."""

    __slots__ = ("least_share", "limit", "lost", "ok", "share")

    def __init__(self, limit: float, lost: float, count: float) -> None:
        self.limit = limit
        self.share = lost / count
        self.least_share = _at_least(lost, count)
        self.ok = 0
        self.lost = 0

    def hear(self, limit: float, ok: int, lost: int) -> None:
        """Take a settled window as evidence."""
        if limit <= CONTRAST * self.limit:
            self.ok += ok
            self.lost += lost
        else:
            self.share = max(self.share, lost / (ok + lost))
            self.least_share = max(self.least_share, _at_least(lost, ok + lost))

    @property
    def proven(self) -> bool:
        """Whether so much was seen that an unchanged share would have shown."""
        return (self.ok + self.lost) * self.share >= PROOF_LOSSES

    def refuted_by(self, share: float) -> bool:
        """Whether this share is far above that seen below: then load is guilty here as well, and cutting goes on."""
        return self.ok + self.lost >= LEAST_CONTRAST and self.share_below < SAME_SHARE / 2 * share

    @property
    def share_below(self) -> float:
        """The share of what ended there."""
        return self.lost / (self.ok + self.lost)


def _at_least(lost: float, count: float) -> float:
    """Return the share less what chance does: a cut is asked for just when chance has made it large."""
    share = lost / count
    return share - math.sqrt(share * (1 - share) / count)
