"""What is logged of the worker itself."""

from worker.telemetry.catalogue.event import Event

EVENTS: tuple[Event, ...] = (
    Event("worker.started", "info", "settings are right, all parts are open", "version environment once"),
    Event("worker.draining", "info", "told to stop: takes nothing more, ends what is under way", "signal in_flight"),
    Event(
        "worker.stopped",
        "info",
        "all parts are closed; results, batches settled and batches set aside since the start",
        "claims batches refused",
    ),
    Event(
        "worker.failed",
        "error",
        "`run` ends: something cannot be used, or can no longer be trusted; nothing is lost",
        "detail exit_code",
        "do what `detail` says, then start it again",
    ),
    Event(
        "worker.taken_over",
        "warning",
        "batches of a worker that died are ours now",
        "owner batches",
        "find out why the other worker died",
    ),
    Event("worker.succeeded", "info", "batches that a worker left when it was stopped are ours now", "owner batches"),
    Event(
        "ledger.inherited",
        "info",
        "what a dead worker's ledger knew of its batches is known here; work on them goes on",
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
        "a setting is allowed but probably not meant",
        "detail",
        "change the setting, or be sure of it",
    ),
    Event(
        "worker.timed_out",
        "warning",
        "a `--once` run reached flow.once_timeout_s; what is unfinished stays pending",
        "elapsed_s",
        "find out why it takes so long; start it again",
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
        "a part of the worker, or its work on one claim, failed unexpectedly",
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
)
