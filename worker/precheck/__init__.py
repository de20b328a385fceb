"""All that knows this API: request, answer, verdict, code table, client, connection guard, token."""

from worker.precheck.client import PrecheckClient
from worker.precheck.opening import open_client

__all__ = ["PrecheckClient", "open_client"]
