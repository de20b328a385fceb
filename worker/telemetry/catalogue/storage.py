"""What is logged of ledger, sinks and disk, where results are kept and go."""

from worker.telemetry.catalogue.event import Event

EVENTS: tuple[Event, ...] = (
    Event(
        "ledger.failed",
        "error",
        "the durable memory cannot be trusted any more; the worker stops",
        "detail",
        "look at the disk; restart once it is sound",
    ),
    Event(
        "ledger.log_kept",
        "warning",
        "the ledger's log could not be folded into its file for lack of room; it grows until there is some",
        "detail",
        "make room on the disk",
    ),
    Event(
        "books.balanced",
        "info",
        "a run has ended, and its claims in are its results and what is pending",
        "batches claims dispositions pending parked",
    ),
    Event(
        "books.unbalanced",
        "error",
        "claims that came in neither have a result nor are pending, or results were counted twice",
        "batches claims dispositions pending parked count detail",
        "keep the ledger as it is and report this line; `status --reconcile` shows every batch",
    ),
    Event("ledger.migrated", "info", "a ledger of an older version was brought up to date", "elapsed_s"),
    Event("ledger.purged", "info", "claim content past its retention is gone", "results"),
    Event(
        "sink.tail_repaired",
        "warning",
        "a record torn by a crash was removed; it is written again whole",
        "sink torn_bytes",
        "find out why the worker died",
    ),
    Event(
        "sink.unavailable",
        "error",
        "results cannot be sent on, or the shared ledger cannot be reached; submission is paused, nothing is lost",
        "sink detail",
        "bring the broker or database back",
    ),
    Event(
        "sink.reduced",
        "warning",
        "a result is larger than the broker takes; it was sent without the fields in `names`",
        "sink claim_id bytes names",
        "find the whole record with `results --format json`, or raise the broker's limit",
    ),
    Event(
        "sink.rotated",
        "info",
        "the results file was set aside as configured; results go to a new one",
        "sink bytes",
    ),
    Event(
        "sink.rotation_found", "info", "the results file was renamed by another tool; results go to a new one", "sink"
    ),
    Event(
        "storage.filled",
        "error",
        "no room to make something durable; submission is paused",
        "place",
        "make room on the disk",
    ),
    Event("storage.freed", "info", "there is room again", "place"),
)
