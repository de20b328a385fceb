import itertools
import stat
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.unit.simulator_calls import complaints
from worker.settings.service import SUPPORTED_PAYERS
from worker.simulator.folder import write_folder
from worker.simulator.generator import Generator, GeneratorSpec, generate
from worker.simulator.identities import luhn_digit, npi
from worker.simulator.interchange import read_interchange
from worker.x12 import Delimiters, SplitClaim, split, survey

PIPES = Delimiters(b"|", b"!", b">", b"\n")


def text_of(**spec: Any) -> bytes:
    return b"".join(generate(GeneratorSpec(**spec)))


def split_claims(data: bytes) -> list[SplitClaim]:
    return list(split([data], survey([data])))


def claim_numbers(data: bytes) -> list[bytes]:
    return [line.split(b"*")[1] for line in data.split(b"~\n") if line.startswith(b"CLM*")]


@pytest.mark.parametrize("kind", ["professional", "institutional", "mixed"])
@pytest.mark.parametrize("family_share", [0.0, 1.0])
def test_an_independent_validator_finds_nothing_wrong(kind: str, family_share: float) -> None:
    data = text_of(claims=20, claims_per_st=8, kind=kind, family_share=family_share)

    assert complaints(data.decode()) == []


@pytest.mark.parametrize(("delimiters", "newline"), [(PIPES, b""), (Delimiters(b"+", b"^", b"<", b"'"), b"\r\n")])
def test_other_delimiters_are_valid_too(delimiters: Delimiters, newline: bytes) -> None:
    data = text_of(claims=3, delimiters=delimiters, newline=newline, usage="P")

    assert complaints(data.decode()) == []
    assert data[3:4] == delimiters.element
    assert data[105:].startswith(delimiters.segment + newline)


@pytest.mark.parametrize("claims", [1, 2, 3, 7, 64, 500])
@pytest.mark.parametrize("kind", ["professional", "institutional", "mixed"])
def test_a_batch_holds_exactly_the_claims_asked_for(claims: int, kind: str) -> None:
    data = text_of(claims=claims, claims_per_st=37, kind=kind, family_share=0.5)

    found = split_claims(data)

    assert len(found) == claims
    assert [claim.refusal for claim in found] == [None] * claims
    assert len({claim.facts.patient_control_number for claim in found}) == claims


@pytest.mark.parametrize("kind", ["professional", "institutional"])
def test_each_claim_cut_out_of_a_family_is_valid_by_itself(kind: str) -> None:
    cut = split_claims(text_of(claims=6, kind=kind, family_share=1.0))

    assert [complaints(claim.interchange.decode()) for claim in cut] == [[]] * 6


@pytest.mark.parametrize("kind", ["professional", "institutional"])
def test_levels_name_their_parents_and_say_whether_a_child_follows(kind: str) -> None:
    data = text_of(claims=200, kind=kind, family_share=0.5)

    assert read_interchange(data.decode()).findings == []


def test_families_have_own_claims_and_dependents_under_one_subscriber() -> None:
    data = text_of(claims=300, family_share=1.0)

    levels = [line for line in data.split(b"~\n") if line.startswith((b"HL*", b"CLM*", b"SBR*"))]
    runs = ["".join("D" if b"*23*" in s else "C" if s[:3] == b"CLM" else "" for s in levels)]

    assert "CDC" in runs[0]
    assert "DCC" in runs[0]
    assert any(line.startswith(b"SBR*P**") for line in levels)
    assert any(line.startswith(b"SBR*P*18*") for line in levels)


def test_the_size_of_a_one_claim_file_is_realistic() -> None:
    sizes = [
        len(text_of(claims=1, first_ordinal=n, kind=kind))
        for n in range(1, 40)
        for kind in ("professional", "institutional")
    ]

    assert min(sizes) > 1_000
    assert max(sizes) < 2_500


def test_claims_spread_over_providers_and_payers() -> None:
    found = split_claims(text_of(claims=400, providers=4, payers=SUPPORTED_PAYERS, family_share=0.2))

    assert len({claim.facts.provider_npi for claim in found}) == 4
    assert len({claim.facts.provider_tax_id for claim in found}) == 4
    assert {claim.facts.payer_id for claim in found} == set(SUPPORTED_PAYERS)


def test_the_same_spec_gives_the_same_bytes_and_another_seed_others() -> None:
    assert text_of(claims=50, seed=7) == text_of(claims=50, seed=7)
    assert not set(claim_numbers(text_of(claims=50, seed=7))) & set(claim_numbers(text_of(claims=50, seed=8)))


def test_magic_values_are_planted_in_the_shares_asked_for() -> None:
    numbers = claim_numbers(text_of(claims=4000, planted={"REJ-": 0.1, "E999-": 0.05}))

    assert 0.07 < sum(number.startswith(b"REJ-") for number in numbers) / 4000 < 0.13
    assert 0.03 < sum(number.startswith(b"E999-") for number in numbers) / 4000 < 0.07
    assert len(set(numbers)) == 4000
    assert max(map(len, numbers)) <= 20


def test_npis_pass_the_luhn_check() -> None:
    # 1234567893 is the example of the CMS check digit document.
    assert luhn_digit("80840123456789") == "3"
    assert all(luhn_digit("80840" + npi(number)[:9]) == npi(number)[9] for number in range(100))


@pytest.mark.parametrize(
    "wrong",
    [
        {"claims": 0},
        {"claims_per_st": 0},
        {"providers": 0},
        {"payers": ()},
        {"kind": "mixed", "guide": "005010X222A1"},
        {"family_share": 1.5},
        {"planted": {"OK-": 0.7, "REJ-": 0.7}},
        {"planted": {"OK-": -0.1}},
        {"planted": {"NONSENSE-": 0.1}},
        {"planted": {"OK": 0.1}},
    ],
)
def test_a_spec_that_makes_no_valid_batch_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|cannot|no magic"):
        GeneratorSpec(**{"claims": 1, **wrong})


@pytest.mark.slow
def test_a_batch_of_200_000_claims_takes_no_more_memory_than_a_small_one() -> None:
    batch = Generator(GeneratorSpec(claims=200_000, family_share=0.3)).batch(200_000, 1, 1)
    size = sum(map(len, itertools.islice(batch, 10)))

    tracemalloc.start()
    try:
        size += sum(map(len, batch))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size > 80_000_000
    assert peak < 1_000_000


def test_a_folder_is_filled_with_private_complete_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"

    written = write_folder(folder, files=40, claims_per_file=3, spec=GeneratorSpec(claims=1, seed=3))

    assert sorted(folder.iterdir()) == written
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    claims = [claim for path in written for claim in split_claims(path.read_bytes())]
    assert len({claim.facts.patient_control_number for claim in claims}) == 120
    assert len({path.read_bytes()[90:99] for path in written}) == 40
