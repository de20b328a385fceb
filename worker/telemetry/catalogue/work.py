"""What is logged of batches and claims."""

from worker.telemetry.catalogue.event import Event

EVENTS: tuple[Event, ...] = (
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
        "a batch is being worked on; at level debug if it holds one claim, whose own line says it all",
        "batch batch_id claims bytes duplicate_of answered",
    ),
    Event(
        "batch.waiting",
        "info",
        "a batch equal to one that is being worked on waits, to be given that one's results again",
        "batch batch_id duplicate_of",
    ),
    Event(
        "batch.resumed",
        "info",
        "work goes on with a batch that was begun before",
        "batch batch_id claims bytes duplicate_of answered",
    ),
    Event(
        "batch.settled",
        "info",
        "all results of a batch are in all sinks; it was archived or acknowledged",
        "batch batch_id claims dispositions",
    ),
    Event(
        "batch.refused",
        "warning",
        "a file named to `submit` is not X12 that can be sent; nothing of it was sent, and it stays where it is",
        "batch code detail",
        "correct it and submit it again",
    ),
    Event(
        "batch.lost",
        "error",
        "a large batch changed or disappeared while it was read; its remaining claims are `invalid`",
        "batch batch_id errno",
        "find out who changes files that were taken; deliver the batch again",
    ),
    Event(
        "batch.doubted",
        "warning",
        "something in a batch is wrong, but does not stop it",
        "batch batch_id code interchange segment",
        "have the generator corrected",
    ),
    Event(
        "claim.completed",
        "info",
        "one claim has its result, and the result is durable",
        "claim_id generation disposition reason reason_source transaction_id http_status "
        "status_code attempts ambiguous_attempts latency_ms correlation_id trace_id",
    ),
    Event(
        "claim.told_elsewhere",
        "warning",
        "another worker of the fleet has stored the claim's result first: that one counts, ours is dropped",
        "claim_id generation",
        "see why messages come to two workers at once: leases too short for the broker, or connections that break",
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
        "find out whether the generator is meant to send here",
    ),
)
