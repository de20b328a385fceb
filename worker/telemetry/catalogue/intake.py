"""What is logged of the input."""

from worker.telemetry.catalogue.event import Event

EVENTS: tuple[Event, ...] = (
    Event("input.taken", "debug", "batches were taken from the input", "batches bytes"),
    Event("input.archived", "debug", "settled batches left the input", "batches"),
    Event(
        "input.ignored",
        "warning",
        "something in the input is not a regular file, or cannot be moved",
        "name code",
        "remove it, or have it delivered as a file that the worker may move",
    ),
    Event(
        "input.quarantined",
        "warning",
        "a batch can never be processed and was set aside",
        "batch code detail",
        "read the reason beside it in quarantine or on the dead letter; correct it and deliver it again",
    ),
    Event(
        "input.unready",
        "warning",
        "a `--once` run ends and these inputs were not ready, or it was ended before it came to them",
        "names count",
        "see whether their producers still write",
    ),
    Event(
        "input.unavailable",
        "error",
        "the input cannot be reached; work on what was taken goes on",
        "detail",
        "bring the folder or the broker back",
    ),
    Event(
        "input.vanished",
        "warning",
        "a batch taken from the input is no longer where it was put",
        "batch",
        "find out who moves files there; its results are complete",
    ),
    Event(
        "input.unwatched",
        "warning",
        "the system does not report changes of the input; the folder is searched every few seconds instead",
        "errno",
        "raise the limit of inotify watches if batches should be found at once",
    ),
    Event(
        "input.reference_waits",
        "warning",
        "what a message refers to cannot be read for now; the message stays the worker's and is tried again",
        "detail",
        "bring the place back, or give the worker the rights that `detail` names",
    ),
    Event("input.available", "info", "the input can be reached again"),
    Event(
        "input.ack_lost",
        "warning",
        "settled batches could not be acknowledged; they come again, and are then recognised and acknowledged",
        "count",
        "nothing, unless it goes on: then see whether the connections to the broker break",
    ),
    Event(
        "input.lease_failed",
        "warning",
        "the broker cannot be told that batches are in work; they may be given to another worker as well",
        "count detail",
        "see whether the broker is well; each claim has one result id all the same",
    ),
    Event(
        "input.bury_failed",
        "error",
        "a batch that can never be processed could not be put with the dead letters; it comes again",
        "batch code detail",
        "see whether the place for dead letters exists and has room",
    ),
    Event(
        "input.lost",
        "error",
        "the broker removed batches before they were processed; there are no results for them",
        "count detail",
        "take the limit off the stream; deliver again",
    ),
)
