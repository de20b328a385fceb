"""The seam to the service that checks claims."""

from typing import Protocol

from worker.claim import Claim
from worker.result import Verdict


class Api(Protocol):
    """The service that checks claims."""

    async def attempt(self, claim: Claim) -> Verdict:
        """Post the claim once and say what the answer means.

        Called concurrently, up to the limiter's bound. A first 401 is answered inside with one repeat.

        :raises worker.errors.NotSent: if the claim cannot have been processed.
        :raises worker.errors.Ambiguous: if it may have been.
        :raises worker.errors.TokenUnavailable: if there is no token for now; nothing was sent.
        :raises worker.errors.CredentialsRefused: if token endpoint or API refuse who we are.
        """
        ...

    async def authorize(self) -> None:
        """Make sure that there is a token, waiting for one request at most; called before the input is touched.

        :raises worker.errors.TokenUnavailable: if there is none for now.
        :raises worker.errors.CredentialsRefused: if we are refused one.
        """
        ...

    async def healthy(self) -> bool | None:
        """Ask the health endpoint once; never raises, False for any failure.

        None if it is there for others or not at all, and so says nothing of the service.
        """
        ...
