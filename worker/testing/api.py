"""The service by a script."""

from collections import Counter
from collections.abc import Callable

import anyio
from anyio.lowlevel import checkpoint

from worker.claim import Claim
from worker.errors import WorkerError
from worker.result import Verdict


class ScriptedApi:
    """`worker.ports.Api` by a script: claim and number of the call for it → verdict, or an exception to raise.

    A call takes `latency_s`. `calls` notes when each was answered, and for which ordinal. While `refusing` is set,
    every call raises it and the service is not healthy.
    """

    def __init__(self, script: Callable[[Claim, int], Verdict], *, latency_s: float = 0.01) -> None:
        self.calls: list[tuple[float, int]] = []
        self.most_in_flight = 0
        self.refusing: WorkerError | None = None
        self._script = script
        self._latency_s = latency_s
        self._in_flight = 0
        self._times: Counter[str] = Counter()

    async def authorize(self) -> None:
        """Succeed, unless refusing."""
        await checkpoint()
        if self.refusing is not None:
            raise self.refusing

    async def healthy(self) -> bool:
        """Be healthy, unless refusing."""
        await checkpoint()
        return self.refusing is None

    async def attempt(self, claim: Claim) -> Verdict:
        """Answer by the script."""
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await anyio.sleep(self._latency_s)
            if self.refusing is not None:
                raise self.refusing
            self.calls.append((anyio.current_time(), claim.ordinal))
            self._times[claim.result_id] += 1
            return self._script(claim, self._times[claim.result_id])
        finally:
            self._in_flight -= 1
