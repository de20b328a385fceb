"""The public and synthetic sample files: every 837 is split completely or refused with a name."""

import csv
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyx12.params import params
from pyx12.x12n_document import x12n_document

from tests.unit.x12_reference import assert_single_claim, interchanges
from worker.x12 import SplitClaim, split, survey
from worker.x12.findings import TEXTS

CORPUS = Path(__file__).parents[1] / "data" / "corpus"
ODD = CORPUS / "synthetic" / "odd_837"
EXPECT = json.loads((ODD / "expect.json").read_text())
COUNTS = {"se01_wrong", "ge01_wrong", "iea01_wrong", "duplicate_st02", "empty_segment", "stray_segment"}

with (CORPUS / "MANIFEST.tsv").open(newline="") as _manifest:
    MANIFEST = {row["path"]: row for row in csv.DictReader(_manifest, delimiter="\t")}
CLAIM_FILES = [path for path, row in MANIFEST.items() if row["type"].startswith("837") and "/odd_837/" not in path]
ODD_FILES = sorted(EXPECT)
OTHER_FILES = [path for path, row in MANIFEST.items() if not row["type"].startswith("837") and "/odd_837/" not in path]
VALID_FILES = [path for path, row in MANIFEST.items() if row["type"].startswith("837") and row["pyx12_valid"] == "yes"]


def split_file(path: Path) -> list[SplitClaim]:
    data = path.read_bytes()
    return list(split([data], survey([data]), seed=41))


def check_children(data: bytes, children: list[SplitClaim], codes: set[str]) -> None:
    """Hold what was emitted against the plain second reading."""
    parents = [claim for one in interchanges(data) for claim in one.claims()]
    assert [child.ordinal for child in children] == list(range(1, len(parents) + 1))
    for child, parent in zip(children, parents, strict=True):
        if child.refusal is not None:
            assert child.interchange == b""
            continue
        read = assert_single_claim(child.interchange, levels=len(parents) > 1)
        assert read.claims() == [parent]
        again = survey([child.interchange])
        assert (again.complete, again.refusal, again.claims) == (True, None, 1)
        assert {one.code for one in again.findings} <= codes - COUNTS
        assert not again.refused_sets
        assert child.facts.patient_control_number.encode() == read.split(parent[0])[1]


@pytest.mark.parametrize("path", CLAIM_FILES)
def test_every_837_of_the_corpus_is_split_completely_or_refused_for_holding_no_claim(path: str) -> None:
    data = (CORPUS / path).read_bytes()
    row = MANIFEST[path]

    found = survey([data])
    children = list(split([data], found, seed=41))

    counts = [found.interchanges, found.groups, found.sets, found.claims]
    assert counts == [int(row[key]) for key in ("isa", "gs", "st", "clm")]
    if row["clm"] == "0":
        assert found.refusal is not None
        assert found.refusal.code == "no_claims"
        assert children == []
        return
    assert found.refusal is None
    assert all(child.refusal is None for child in children)
    assert all(child.facts.guide.startswith(row["versions"]) for child in children)
    check_children(data, children, {one.code for one in found.findings})


@pytest.mark.parametrize("path", [path for path in CLAIM_FILES if MANIFEST[path]["clm"] == "1"])
def test_a_file_of_one_claim_is_sent_byte_for_byte_unless_its_counts_are_wrong(path: str) -> None:
    data = (CORPUS / path).read_bytes()

    (only,) = split_file(CORPUS / path)

    whole = data.strip() if data[105:106] == b"~" else data.strip() + data[105:106]
    if MANIFEST[path]["envelope_check"] == "ok":
        assert only.interchange == whole
    else:
        assert only.interchange == whole.replace(b"SE*13*", b"SE*11*")


@pytest.mark.parametrize("path", OTHER_FILES)
def test_a_file_without_claims_is_refused_with_a_name(path: str) -> None:
    data = (CORPUS / path).read_bytes()

    found = survey([data])

    assert found.refusal is not None
    assert found.refusal.code in TEXTS
    assert list(split([data], found)) == []


@pytest.mark.parametrize("name", ODD_FILES)
def test_the_odd_files_behave_as_expected(name: str) -> None:
    data = (ODD / name).read_bytes()
    expect = EXPECT[name]

    found = survey([data])
    children = list(split([data], found, seed=41))

    refused = [child for child in children if child.refusal is not None]
    if expect["ok"]:
        counts = (found.interchanges, found.groups, found.sets, found.claims, found.segments)
        assert counts == tuple(expect[key] for key in ("isa", "gs", "st", "clm", "seg"))
        assert (found.refusal, found.findings, refused) == (None, (), [])
    else:
        assert found.refusal or found.findings or refused
    if found.refusal is None:
        assert len(children) == expect["clm"]
        check_children(data.removesuffix(b"EOF marker text"), children, {one.code for one in found.findings})


@pytest.mark.parametrize(
    ("name", "complete", "code"),
    [
        ("17_isa_unpadded.837", True, "isa_width"),
        ("18_isa_one_short.837", True, "isa_width"),
        ("19_trunc_no_iea.837", False, "incomplete"),
        ("20_trunc_no_se_ge_iea.837", False, "incomplete"),
        ("21_trunc_midseg.837", False, "incomplete"),
        ("22_iea02_mismatch.837", True, "control_number_mismatch"),
        ("41_empty.837", True, "empty_input"),
        ("42_not_x12.837", True, "not_x12"),
        ("44_utf16.837", True, "not_x12"),
    ],
)
def test_a_batch_that_cannot_be_used_says_why(name: str, complete: bool, code: str) -> None:
    found = survey([(ODD / name).read_bytes()])

    assert found.refusal is not None
    assert (found.complete, found.refusal.code) == (complete, code)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("16_trailing_junk.837", ["trailing_junk"]),
        ("23_se01_wrong.837", ["se01_wrong"]),
        ("24_se02_mismatch.837", ["se02_mismatch"]),
        ("25_ge01_wrong.837", ["ge01_wrong"]),
        ("26_dup_st02.837", ["duplicate_st02"]),
        ("27_empty_segment.837", ["empty_segment"]),
        ("28_trailing_elems.837", ["trailing_elements"]),
        ("29_lower_segid.837", ["lower_case_segment_id"]),
        ("36_hl_bad_parent.837", []),
        ("37_gs08_x224a2_dental.837", ["guide_unexpected"] * 2),
        ("38_gs08_x222A2.837", ["guide_unexpected"] * 2),
        ("39_isa12_00402.837", ["version_unexpected"]),
        ("40_long_segment_20k.837", ["long_segment"]),
    ],
)
def test_what_is_odd_is_told_and_nothing_else(name: str, codes: list[str]) -> None:
    found = survey([(ODD / name).read_bytes()])

    assert found.refusal is None
    assert [one.code for one in found.findings] == codes


def test_a_wrong_parent_refuses_its_claim_and_the_others_go_on() -> None:
    children = split_file(ODD / "36_hl_bad_parent.837")

    assert [child.refusal and child.refusal.code for child in children] == ["hl_parent_mismatch", None, None, None]
    assert children[0].facts.patient_control_number == "PCN00000001"


def test_a_wrong_se02_refuses_the_claims_of_its_set_only() -> None:
    children = split_file(ODD / "24_se02_mismatch.837")

    assert [child.refusal and child.refusal.code for child in children] == ["se02_mismatch"] * 2 + [None] * 2


def test_two_providers_and_a_family_become_four_interchanges() -> None:
    children = split_file(CORPUS / "synthetic" / "generated_837p" / "family_two_providers.837")

    read = [assert_single_claim(child.interchange) for child in children]
    assert [one.named(b"SE")[0][1] for one in read] == [b"23", b"29", b"29", b"23"]
    assert [len(one.named(b"HL")) for one in read] == [2, 3, 3, 2]
    assert [one.named(b"SBR")[0][2] for one in read] == [b"18", b"", b"", b"18"]
    assert [one.named(b"BHT")[0][3] for one in read] == [b"BATCH77-1", b"BATCH77-2", b"BATCH77-3", b"BATCH77-4"]
    facts = [
        (one.facts.patient_control_number, one.facts.provider_tax_id, one.facts.provider_npi, one.facts.payer_id)
        for one in children
    ]
    assert facts == [
        ("SELF1", "111111111", "1999999984", "PAYER1"),
        ("KID1", "111111111", "1999999984", "PAYER1"),
        ("KID2", "111111111", "1999999984", "PAYER1"),
        ("ANN1", "222222222", "1888888876", "PAYER2"),
    ]
    assert {one.facts.interchange_control_number for one in children} == {"000000042"}


@pytest.fixture
def quiet_pyx12() -> Iterator[object]:
    logging.disable(logging.CRITICAL)
    yield params()
    logging.disable(logging.NOTSET)


def test_children_cut_from_valid_parents_are_valid_by_pyx12(quiet_pyx12: object) -> None:
    """One run for all of the same delimiters and guide: the oracle loads its map of the guide in every run.

    Files of one claim are sent as they are, and the manifest says already that those are valid.
    """
    together: dict[bytes, list[bytes]] = {}
    cut = [path for path in VALID_FILES if MANIFEST[path]["clm"] not in ("0", "1")]
    for place, path in enumerate(cut):
        data = (CORPUS / path).read_bytes()
        for child in split([data], survey([data]), seed=1000 * place):
            isa = child.interchange[:106]
            kind = isa[3:4] + isa[82:83] + isa[104:] + child.facts.guide.encode()
            together.setdefault(kind, []).append(child.interchange)

    runs = [io.StringIO(b"\n".join(children).decode("latin-1"), newline="") for children in together.values()]

    assert sum(map(len, together.values())) > 150
    assert all(x12n_document(quiet_pyx12, run, None, None) for run in runs)


def test_the_oracle_sees_a_wrong_child(quiet_pyx12: object) -> None:
    child = split_file(CORPUS / "synthetic" / "generated_837p" / "family_two_providers.837")[1].interchange
    wrong = child.replace(b"HL*3*2*23", b"HL*3*9*23")

    assert x12n_document(quiet_pyx12, io.StringIO(child.decode()), None, None) is True
    assert x12n_document(quiet_pyx12, io.StringIO(wrong.decode()), None, None) is False
