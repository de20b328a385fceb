"""The catalogue of everything the worker logs: events, when they come, and what each asks of the operator.

To add an event, add a row; its keys are those of `worker.telemetry.keys`.
"""

from typing import Literal, NamedTuple

Level = Literal["debug", "info", "warning", "error"]


class Event(NamedTuple):
    """One event: `keys` are names from `KEYS`, separated by blanks; `action` is what the operator should do."""

    name: str
    level: Level
    meaning: str
    keys: str = ""
    action: str = ""


EVENTS: tuple[Event, ...] = (
    # The worker itself.
    Event("worker.started", "info", "settings are right, all parts are open", "version environment once"),
    Event("worker.draining", "info", "told to stop: takes nothing more, ends what is under way", "signal in_flight"),
    Event("worker.stopped", "info", "all parts are closed", "claims batches"),
    Event(
        "worker.taken_over",
        "warning",
        "batches of a worker that died are ours now",
        "owner batches",
        "find out why the other worker died",
    ),
    Event(
        "ledger.inherited",
        "info",
        "what a dead worker's ledger knew of its batches is known here; they are gone on with",
        "owner batches results",
    ),
    Event(
        "ledger.missed",
        "warning",
        "a dead worker's ledger cannot be found or read; its batches are begun anew, and results of theirs may go out "
        "to its sinks and to ours",
        "owner detail",
        "see whether its results file has some of them; keep the ledgers of workers that share a folder on one machine",
    ),
    Event(
        "ledger.awaited",
        "warning",
        "a dead worker's batches stay where they are while its ledger is in use, or has no room",
        "owner detail",
        "let its worker run on the same folder, or end what holds the ledger",
    ),
    Event(
        "results.left",
        "error",
        "results in a dead worker's ledger could not be brought to its own sinks; they are kept there",
        "place detail",
        "start a worker with that ledger and its sinks once",
    ),
    Event(
        "settings.warned",
        "warning",
        "a setting is allowed and probably not meant",
        "detail",
        "change the setting, or be sure of it",
    ),
    Event(
        "worker.timed_out",
        "warning",
        "a `--once` run reached flow.once_timeout_s; what is unfinished stays pending",
        "elapsed_s",
        "see why it takes so long; start it again",
    ),
    Event(
        "sandbox.capped",
        "warning",
        "the sandbox takes no more claims in this run; the others stay pending",
        "pending",
        "test with fewer claims, or with the simulator",
    ),
    Event(
        "task.failed",
        "error",
        "a part of the worker, or its work on one claim, ended in an error of its own",
        "task claim_id batch batch_id error error_code causes frames",
        "report it with this line; it holds no claim content",
    ),
    Event(
        "loop.blocked",
        "error",
        "the worker stands still: one step of its work takes too long, or the process or its machine was stopped",
        "frames",
        "if the machine was not stopped: report it with this line, which says where it stands",
    ),
    Event("loop.freed", "warning", "the worker goes on after it stood still", "elapsed_s", "see `loop.blocked`"),
    Event(
        "library.logged",
        "warning",
        "a library wrote a line, whose text is withheld because such lines quote tokens and bodies",
        "library error error_code causes frames",
        "look at the events around it",
    ),
    # Input.
    Event("input.taken", "debug", "batches were taken from the input", "batches bytes input batch"),
    Event("input.archived", "debug", "settled batches left the input", "batches batch"),
    Event(
        "input.ignored",
        "warning",
        "something in the input is no regular file that can be taken",
        "name code",
        "remove it, or have it delivered as a file",
    ),
    Event(
        "input.quarantined",
        "warning",
        "a batch can never be processed and was set aside",
        "batch code detail",
        "read the reason beside it in quarantine or on the dead letter; correct and deliver again",
    ),
    Event(
        "input.unready",
        "warning",
        "a `--once` run ends and these inputs were not ready",
        "names count batches",
        "see whether their producers still write",
    ),
    Event(
        "input.unavailable",
        "error",
        "the input cannot be reached; work on what was taken goes on",
        "detail code delay_s",
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
        "the system tells no changes of the input; it is looked through every few seconds instead",
        "errno",
        "raise the limit of inotify watches if batches should be found at once",
    ),
    Event("input.available", "info", "the input can be reached again"),
    Event(
        "input.ack_lost",
        "warning",
        "settled batches could not be acknowledged; they come again, are recognised and acknowledged then",
        "count",
        "nothing, unless it goes on: then see whether connections to the broker last",
    ),
    Event(
        "input.lease_failed",
        "warning",
        "the broker cannot be told that batches are in work; another worker may be given them as well",
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
    # Batches and claims.
    Event(
        "batch.replayed",
        "info",
        "parked claims of a batch are sent again, as a new generation",
        "batch batch_id claims",
    ),
    Event(
        "batch.forgotten",
        "warning",
        "a batch was to be sent again, but its results are past their retention; nothing of it is sent",
        "batch batch_id",
        "deliver a copy of the file: it is a new batch then",
    ),
    Event(
        "batch.opened",
        "info",
        "a batch is being worked on; told at debug where it is one claim, whose lines say all",
        "batch batch_id claims bytes duplicate_of answered",
    ),
    Event(
        "batch.waiting",
        "info",
        "a batch of bytes that are being worked on waits, to tell that one's results again",
        "batch batch_id duplicate_of",
    ),
    Event(
        "batch.resumed",
        "info",
        "a batch that was begun before goes on",
        "batch batch_id claims bytes duplicate_of answered",
    ),
    Event(
        "batch.settled",
        "info",
        "all results of a batch are in all sinks; it was archived or acknowledged",
        "batch batch_id claims dispositions elapsed_s",
    ),
    Event(
        "batch.refused",
        "warning",
        "a batch is no X12 that can be sent; nothing of it was",
        "batch batch_id code",
        "see the reason in quarantine; correct and deliver again",
    ),
    Event(
        "batch.lost",
        "error",
        "a large batch changed or disappeared while it was read; its remaining claims are `invalid`",
        "batch batch_id errno",
        "find out who touches files that were taken; deliver it again",
    ),
    Event(
        "batch.doubted",
        "warning",
        "something in a batch is wrong and does not stop it",
        "batch batch_id code segment count",
        "have the generator corrected",
    ),
    Event(
        "claim.completed",
        "info",
        "one claim has its result, and the result is durable",
        "claim_id batch batch_id ordinal generation disposition reason reason_source transaction_id http_status "
        "status_code attempts ambiguous_attempts latency_ms correlation_id trace_id",
    ),
    Event(
        "claim.retried",
        "debug",
        "an attempt ended without a verdict; another one is due",
        "claim_id attempts reason http_status after_ms",
    ),
    Event(
        "transaction.duplicated",
        "error",
        "the service used one transaction id for two claims: an answer may be another claim's",
        "claim_id other_claim_id transaction_id",
        "look at both results; tell the vendor",
    ),
    Event(
        "batch.test_flagged",
        "warning",
        "a batch in production is flagged as test data (ISA15 T); its claims are sent",
        "batch_id",
        "see whether the generator is meant to send here",
    ),
    # Towards the API.
    Event("token.refreshed", "info", "a new token is in use", "expires_in_s latency_ms generation"),
    Event(
        "token.refresh_failed",
        "warning",
        "no new token for now; the old one serves on while it lasts",
        "code http_status delay_s",
        "if it lasts: see whether the token endpoint can be reached",
    ),
    Event(
        "token.refused",
        "error",
        "the token endpoint refuses our credentials",
        "code http_status delay_s",
        "correct client id and secret; claims stay pending meanwhile",
    ),
    Event("connection.dropped", "debug", "an idle connection was not fit for another claim", "reason code count"),
    Event(
        "gate.shut",
        "error",
        "submission is paused; no claim is charged an attempt",
        "reason detail advice failures trace_ids correlation_ids",
        "do what `advice` says; a ticket wants the ids",
    ),
    Event(
        "gate.held",
        "warning",
        "submission stays paused: a trial failed, or one of several reasons went",
        "reason detail reasons shut_s",
        "see the `gate.shut` before it",
    ),
    Event("gate.probed", "info", "the service seems to be back; a few claims try it", "reason"),
    Event("gate.opened", "info", "submission goes on", "reason shut_s"),
    Event(
        "fleet.unavailable",
        "warning",
        "the limits that the fleet shares cannot be asked for; this worker keeps to its share, nothing stops",
        "detail limit",
        "bring Redis back; meanwhile idle workers' shares lie idle",
    ),
    Event("fleet.available", "info", "the limits that the fleet shares are asked for again"),
    Event(
        "limiter.changed",
        "info",
        "plainly more or fewer calls may be under way; one line in 10 s at most",
        "limit before reason",
    ),
    Event(
        "limiter.forgotten",
        "warning",
        "no room to remember the limit; the next run starts slowly",
        "limit",
        "make room on the disk",
    ),
    # What is kept, and where results go.
    Event(
        "ledger.failed",
        "error",
        "the durable memory cannot be trusted any more; the worker stops",
        "detail code",
        "look at the disk; restart once it is sound",
    ),
    Event(
        "ledger.log_kept",
        "warning",
        "the ledger's log could not be folded into its file for lack of room; it grows until there is some",
        "detail code",
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
        "claims that came in have neither a result nor are pending, or results were counted twice",
        "batches claims dispositions pending parked count detail",
        "keep the ledger as it is and report this line; `status --reconcile` shows every batch",
    ),
    Event("ledger.migrated", "info", "a ledger of an older version was brought up to date", "elapsed_s"),
    Event("ledger.purged", "info", "claim content past its retention is gone", "batches claims results"),
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
        "results cannot be sent on; submission is paused, nothing is lost",
        "sink detail",
        "bring the broker or database back",
    ),
    Event(
        "sink.reduced",
        "warning",
        "a result is larger than the broker takes; it was sent without what `names` tells",
        "sink claim_id bytes names",
        "find the whole record with `results --format json`, or raise the broker's limit",
    ),
    Event(
        "sink.rotated",
        "info",
        "the file of results was set aside as configured; results go on in a new one",
        "sink bytes",
    ),
    Event("sink.rotation_found", "info", "the file of results was rotated; results go on in the new one", "sink"),
    Event(
        "storage.filled",
        "error",
        "no room to make something durable; submission is paused",
        "place",
        "make room on the disk",
    ),
    Event("storage.freed", "info", "there is room again", "place"),
)

NAMES = frozenset(event.name for event in EVENTS)


def find(name: str) -> Event | None:
    """Look an event up by its name."""
    return next((event for event in EVENTS if event.name == name), None)
