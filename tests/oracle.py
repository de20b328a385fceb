"""What must hold after every run of the worker, whatever was done to it: one place for all end-to-end tests."""

import base64
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

TERMINAL = {"accepted", "accepted_with_errors", "rejected", "invalid", "undetermined", "review", "undelivered"}
NEVER_SAID = (
    "Task exception was never retrieved",
    "Unclosed",
    "was never awaited",
    "Traceback (most recent call last)",
)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Parse every line, also of files set aside by rotation; a torn or foreign line fails.

    For results that nobody is writing: while a worker lives, its last line may be half there (`results_so_far`).
    """
    files = [*sorted(path.parent.glob(f"{path.stem}-*{path.suffix}")), *([path] if path.exists() else [])]
    contents = [file.read_bytes() for file in files]
    assert all(content.endswith(b"\n") for content in contents if content), "the last line is torn"
    return [json.loads(line) for content in contents for line in content.splitlines()]


def results_so_far(path: Path) -> list[dict[str, Any]]:
    """Parse the whole lines of the results that a living worker may be writing."""
    return [json.loads(line) for line in whole_lines(path)]


def whole_lines(path: Path) -> list[bytes]:
    """Give the lines of a file that somebody may be writing, but for one at its end that is not whole yet."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def assert_one_result_each(results: list[dict[str, Any]], claims: int) -> None:
    ids = Counter(result["result_id"] for result in results)

    assert [result_id for result_id, count in ids.items() if count > 1] == []
    assert len(ids) == claims, f"{len(ids)} results for {claims} claims"
    assert {result["disposition"] for result in results} <= TERMINAL


def assert_ledger_at_rest(path: Path) -> None:
    """After a clean end every batch is settled and every claim of it answered, but for those that went elsewhere."""
    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        unfinished = db.execute("SELECT count(*) FROM batches WHERE finished_at IS NULL").fetchone()
        short = db.execute(
            "SELECT count(*) FROM batches AS b WHERE total <> "
            "(SELECT count(DISTINCT ordinal) FROM results AS r WHERE r.batch_number = b.number) "
            "AND NOT EXISTS (SELECT 1 FROM notes WHERE key = 'elsewhere:' || b.number)"
        ).fetchone()
    finally:
        db.close()
    assert (unfinished, short) == ((0,), (0,))


def assert_silent_about(canaries: list[str], *texts: bytes) -> None:
    """No planted PHI or secret in any encoding somebody might try; and none of Python's complaints."""
    spoken = b"\n".join(texts)
    for canary in canaries:
        raw = canary.encode()
        encodings = {raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), quote(canary, safe="").encode()}
        assert not [one for one in encodings if one in spoken], f"{canary[:3]}… was found in the output"
    for complaint in NEVER_SAID:
        assert complaint.encode() not in spoken
