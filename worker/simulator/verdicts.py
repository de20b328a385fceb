"""Chooses what the simulator says about a claim: by magic value, else by the seed."""

from itertools import accumulate

from worker.simulator.codes import magic_outcome
from worker.simulator.config import SimulatorConfig
from worker.simulator.draws import draw
from worker.simulator.outcomes import ACCEPTED, BY_NAME, Outcome


class Verdicts:
    """The configured mix, ready to draw from. The same claim number always draws the same outcome."""

    def __init__(self, config: SimulatorConfig) -> None:
        total = sum(config.mix.values())
        thresholds = accumulate(weight / total for weight in config.mix.values())
        self._mix = [(upto, BY_NAME[name]) for upto, name in zip(thresholds, config.mix, strict=True)]
        self._seed = config.seed
        self._recovers_after = config.recovers_after

    def choose(self, claim_number: str, attempt: int) -> Outcome:
        """Return what the `attempt`-th attempt for a claim is told; attempts count from 1."""
        outcome = magic_outcome(claim_number) or self._drawn(claim_number)
        return ACCEPTED if outcome.recovers and attempt > self._recovers_after else outcome

    def _drawn(self, claim_number: str) -> Outcome:
        position = draw(self._seed, "verdict", claim_number)
        return next((outcome for upto, outcome in self._mix if position < upto), self._mix[-1][1])
