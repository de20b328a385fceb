"""What is logged of a batch as it is opened."""

from structlog.typing import FilteringBoundLogger

from worker.batches import OpenBatch
from worker.preparing import Prepared


def tell_opened(log: FilteringBoundLogger, one: Prepared, batch: OpenBatch, environment: str) -> None:
    """Log that a batch is being worked on, and what about it may not be as meant."""
    resumed = bool(batch.opened.answered or batch.opened.dispatched_through)
    tell = log.info if resumed or one.units != 1 else log.debug
    tell(
        "batch.resumed" if resumed else "batch.opened",
        batch=batch.batch.name,
        batch_id=batch.batch.batch_id,
        claims=one.units,
        answered=batch.answered,
        bytes=one.delivery.size,
        duplicate_of=batch.opened.original.batch_id if batch.opened.original else None,
    )
    if environment == "production" and one.survey.test:
        log.warning("batch.test_flagged", batch_id=batch.batch.batch_id)
    for finding in one.survey.findings[:5]:
        log.warning(
            "batch.doubted",
            batch=batch.batch.name,
            batch_id=batch.batch.batch_id,
            code=finding.code,
            interchange=finding.interchange or None,
            segment=finding.segment or None,
        )
