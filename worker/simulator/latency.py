"""How long an answer takes: a heavy tail through the percentiles of the vendor's neighbouring services.

=========== ====== ======= ======= ======= ======
quantile    0      0.50    0.95    0.99    1
seconds     0.6    2.4     6       30      120
=========== ====== ======= ======= ======= ======

Between two of them its logarithm grows evenly. Source: contract.md §5; the ends are our assumption.
"""

from itertools import pairwise

_QUANTILES = ((0.0, 0.6), (0.5, 2.4), (0.95, 6.0), (0.99, 30.0), (1.0, 120.0))


def latency_s(position: float, scale: float) -> float:
    """Return the seconds at a position 0 ≤ x < 1 of the distribution, times `scale`."""
    if scale <= 0.0:
        return 0.0
    steps = pairwise(_QUANTILES)
    (low, fast_s), (high, slow_s) = next(step for step in steps if position < step[1][0])
    share = (position - low) / (high - low)
    return float(scale * fast_s * (slow_s / fast_s) ** share)
