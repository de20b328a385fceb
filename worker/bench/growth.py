"""Jobs about a ledger that has grown: what a claim costs on top of it, how long starting and recovering take.

The ledger is filled through its own interface rather than by a million calls: batches opened, results recorded,
batches finished, in the groups in which a busy worker does it. Each of the claims came in a file of its own, which
is the dearest way.
"""

import json
import subprocess
import sys
import time
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import msgspec

from worker.app import work
from worker.bench.site import Meter, fill_folder, settings_of
from worker.claim import Batch, Claim
from worker.drafting import draft
from worker.ledger import SqliteLedger, open_ledger, open_ledger_readonly
from worker.pipeline import Pipeline
from worker.ports import Arrival, Position, Record, Spent
from worker.result import Disposition, Reason, Verdict, encode_result
from worker.settings import Settings
from worker.simulator.generator import GeneratorSpec, generate
from worker.simulator.stub import canned_answer
from worker.tally import Tally
from worker.telemetry.logs import configure_logs
from worker.x12 import ClaimFacts

AT_ONCE = 512
POLL_S = 0.005
ENVIRONMENT = "simulator"


def fill(spec: dict[str, Any]) -> dict[str, Any]:
    """Settle `claims` one-claim batches in the ledger under `root`."""
    root, claims = Path(spec["root"]), int(spec["claims"])
    with Meter() as meter:
        anyio.run(_fill, root, claims)
    return meter.told(claims) | {"ledger_bytes": ledger_bytes(root)}


def on_top(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the worker over a folder of new one-claim files, on the ledger that is there under `root`."""
    root = Path(spec["root"])
    claims = fill_folder(root / "in", spec)
    settings = settings_of(root, spec)
    with (root / "worker.log").open("wb") as log:
        configure_logs(settings.telemetry, log)
        with Meter() as meter:
            tally = anyio.run(partial(work, settings, once=True), backend_options={"use_uvloop": True})
    return meter.told(claims) | {"results": tally.claims_completed}


def start(spec: dict[str, Any]) -> dict[str, Any]:
    """Start the worker on the ledger under `root` with nothing to do, and end it."""
    root = Path(spec["root"])
    (root / "in").mkdir(parents=True, exist_ok=True)
    settings = settings_of(root, spec)
    with (root / "worker.log").open("wb") as log:
        configure_logs(settings.telemetry, log)
        with Meter() as meter:
            anyio.run(partial(work, settings, once=True), backend_options={"use_uvloop": True})
    return meter.told(1) | {"ledger_bytes": ledger_bytes(root)}


def strand(spec: dict[str, Any]) -> dict[str, Any]:
    """Kill a worker that has one file of `per_file` claims under way; all of them have failed once and are due."""
    settings = settings_of(Path(spec["root"]), spec)
    command = [sys.executable, "-m", "worker.bench.jobs", "on_top", json.dumps(spec)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as worker:
        batch = _taken(settings.state.url)
        worker.kill()
    anyio.run(_set_back, settings.state.url, batch, int(spec["per_file"]))
    return {}


def recover(spec: dict[str, Any]) -> dict[str, Any]:
    """Start where `strand` left a worker dead, until the first result is in the sink."""
    root = Path(spec["root"])
    settings = settings_of(root, spec)
    with (root / "worker.log").open("wb") as log:
        configure_logs(settings.telemetry, log)
        waited_s = anyio.run(partial(_until_first_result, settings), backend_options={"use_uvloop": True})
    return {"wall_s": waited_s}


def ledger_bytes(root: Path) -> int:
    """Tell how many bytes the ledger under `root` takes."""
    return sum(file.stat().st_size for file in (root / "state").iterdir())


async def _fill(root: Path, claims: int) -> None:
    verdict, facts = _usual_answer()
    async with open_ledger(f"sqlite:{root / 'state/ledger.db'}", environment=ENVIRONMENT) as ledger:
        for first in range(1, claims + 1, AT_ONCE):
            last = await _settle(ledger, range(first, min(first + AT_ONCE, claims + 1)), verdict, facts)
        await ledger.advance(f"jsonl:{root / 'out/results.jsonl'}", Position(last, None))


async def _settle(ledger: SqliteLedger, numbers: range, verdict: Verdict, facts: ClaimFacts) -> int:
    now = time.time()
    opened = await ledger.open_batches(
        [
            Arrival(
                sha256=sha256(b"%d" % number).hexdigest(),
                ref=f"{number}:{int(now * 1e9)}:{number}",
                name=f"claims-{number:09}.837",
                size=2500,
                received_at=now,
                total=1,
                reserved=1,
            )
            for number in numbers
        ]
    )
    records = []
    for one, number in zip(opened, numbers, strict=True):
        told = msgspec.structs.replace(verdict, transaction_id=f"stub-{number}")
        result = draft(one.batch, 1, facts, told, now=now, environment=ENVIRONMENT, attempts=1, latency_s=1.0)
        records.append(
            Record(one.batch.number, 1, 1, result.result_id, result.disposition.value, "A2:20", encode_result(result))
        )
    stored = await ledger.record(records)
    await ledger.finish([one.batch.number for one in opened])
    return stored[-1].seq


def _usual_answer() -> tuple[Verdict, ClaimFacts]:
    claim = b"".join(generate(GeneratorSpec(claims=1)))
    answer = msgspec.json.decode(canned_answer(claim, 1))["data"]["claimPreCheck"]
    verdict = Verdict(
        disposition=Disposition.ACCEPTED,
        reason=Reason("A2:20", "The payer's check accepted the claim.", "277ca"),
        status_code=answer["statusCode"],
        message=answer["message"],
        http_status=200,
        x12_999=answer["x12ResponseData"],
        x12_277ca=answer["x12Response277CA"],
    )
    facts = ClaimFacts(payer_id="87726", patient_control_number="B1J1000000001", claim_type="professional")
    return verdict, facts


def _taken(state_url: str) -> Batch:
    """Wait until a worker has taken its one batch."""
    ledger_file = Path(state_url.partition(":")[2])
    while not (ledger_file.exists() and (batch := anyio.run(_newest, state_url))):
        time.sleep(POLL_S)
    return batch


async def _newest(state_url: str) -> Batch | None:
    async with open_ledger_readonly(state_url) as reads:
        summaries = await reads.summaries(limit=1)
    return summaries[0].batch if summaries else None


async def _set_back(state_url: str, batch: Batch, pending: int) -> None:
    """Note that every claim of the batch had one attempt that failed, and is due again by now."""
    spent = Spent(attempts=1, ambiguous_attempts=0, first_sent_at=time.time(), due_at=time.time())
    async with open_ledger(state_url, environment=ENVIRONMENT) as ledger:
        for first in range(1, pending + 1, AT_ONCE):
            async with anyio.create_task_group() as group:
                for ordinal in range(first, min(first + AT_ONCE, pending + 1)):
                    group.start_soon(ledger.defer, Claim(batch, ordinal, b"", ClaimFacts()), spent)


async def _until_first_result(settings: Settings) -> float:
    began = time.perf_counter()
    waited: list[float] = []

    async def observe(pipeline: Pipeline, tally: Tally) -> None:
        while not tally.claims_completed:  # noqa: ASYNC110 - the tally rings no bell
            await anyio.sleep(POLL_S)
        waited.append(time.perf_counter() - began)
        pipeline.drain()

    await work(settings, once=True, observer=observe)
    return waited[0]
