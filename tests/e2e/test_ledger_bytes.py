"""What a settled claim costs in the ledger, with answers as the simulator writes them."""

from pathlib import Path

from tests.e2e.harness import Simulator, Site
from worker.ledger import open_ledger
from worker.ports import Arrival, Record
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

CLAIMS = 400
MOST_BYTES = 1200


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_a_settled_claim_of_a_file_of_its_own_costs_at_most_1_2_kb(site: Site, simulator: Simulator) -> None:
    write_folder(site.inbox, files=CLAIMS, spec=GeneratorSpec(claims=1, kind="mixed"))

    done = site.run_once()

    records = site.results.read_bytes().splitlines()
    assert done.returncode == 0
    assert len(records) == CLAIMS
    assert sum(map(len, records)) > 2 * MOST_BYTES * CLAIMS
    assert bytes_in(site.ledger.parent) <= MOST_BYTES * CLAIMS


async def test_a_claim_that_comes_alone_costs_no_more(site: Site, simulator: Simulator, tmp_path: Path) -> None:
    write_folder(site.inbox, files=1, claims_per_file=CLAIMS)
    site.run_once()
    records = site.results.read_bytes().splitlines()

    async with open_ledger(f"sqlite:{tmp_path}/lone/ledger.db") as ledger:
        for number, body in enumerate(records):
            sha256 = f"{number:04x}" * 16
            (opened,) = await ledger.open_batches([Arrival(sha256, f"r{number}", f"{number}.837", 2500, 1.0, 1, 1)])
            batch = opened.batch
            await ledger.record([Record(batch.number, 1, 1, f"{batch.batch_id}:1:1", "accepted", None, body)])
            await ledger.finish([batch.number])

    assert bytes_in(tmp_path / "lone") <= MOST_BYTES * CLAIMS
