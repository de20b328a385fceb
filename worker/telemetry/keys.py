"""The allow-list of keys in log lines, with the shape of their values.

A key that is not in `KEYS` is left out of the line, and a value that does not fit its key's shape is withheld;
that, and not care at every call, keeps claim content out of the logs. To add a key, say what shape it has:

=========== =====================================================================
``number``  an int, float or bool
``word``    a code, an id, a name from a closed set: no blanks, nothing but ASCII
``name``    what an operator called something: a file, a sink, a folder
``text``    a sentence of ours, without claim content
``words``   several words
``counts``  numbers by word
=========== =====================================================================
"""

from typing import Literal

Shape = Literal["number", "word", "name", "text", "words", "counts"]

KEYS: dict[str, Shape] = {
    "advice": "text",
    "after_ms": "number",
    "ambiguous_attempts": "number",
    "answered": "number",
    "attempts": "number",
    "batch": "name",
    "batch_id": "word",
    "batches": "number",
    "before": "number",
    "bytes": "number",
    "causes": "words",
    "claim_id": "word",
    "claims": "number",
    "code": "word",
    "correlation_id": "word",
    "correlation_ids": "words",
    "count": "number",
    "delay_s": "number",
    "detail": "text",
    "disposition": "word",
    "dispositions": "counts",
    "duplicate_of": "word",
    "elapsed_s": "number",
    "environment": "word",
    "errno": "number",
    "error": "word",
    "error_code": "word",
    "exit_code": "number",
    "expires_in_s": "number",
    "failures": "counts",
    "frames": "words",
    "generation": "number",
    "http_status": "number",
    "in_flight": "number",
    "latency_ms": "number",
    "library": "word",
    "limit": "number",
    "name": "name",
    "names": "text",
    "once": "number",
    "other_claim_id": "word",
    "owner": "word",
    "parked": "number",
    "pending": "number",
    "place": "name",
    "reason": "word",
    "reason_source": "word",
    "reasons": "words",
    "refused": "number",
    "results": "number",
    "interchange": "number",
    "segment": "number",
    "shut_s": "number",
    "signal": "word",
    "sink": "name",
    "status_code": "word",
    "task": "word",
    "torn_bytes": "number",
    "trace_id": "word",
    "trace_ids": "words",
    "transaction_id": "word",
    "version": "word",
}
