"""The one-pass reading of a one-claim batch says what survey and split say, or nothing."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.segments import changed, changed_once
from worker.simulator.generator import GeneratorSpec, generate
from worker.x12 import Single, read_single, split, survey

CORPUS = Path(__file__).parent.parent / "data" / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())
USUAL = [
    b"".join(generate(GeneratorSpec(claims=1, kind=kind, first_ordinal=ordinal)))
    for kind in ("professional", "institutional")
    for ordinal in range(1, 13)
]


def agree(data: bytes) -> Single | None:
    """Hold the short reading against the long one; returns it."""
    single = read_single(data)
    if single is not None:
        surveyed = survey([data])
        assert single.survey == surveyed
        assert [single.claim] == list(split([data], surveyed, seed=7))
    return single


@pytest.mark.parametrize("data", USUAL)
def test_a_generated_claim_is_read_in_one_pass(data: bytes) -> None:
    single = agree(data)

    assert single is not None
    assert single.claim.interchange == data.rstrip()


@pytest.mark.parametrize("delimiters", [b"|>^\n", b"*:^\x1d", b"^!|'", b"\t:^~", b"_:^~"])
def test_any_legal_delimiters_are_read(delimiters: bytes) -> None:
    element, component, repetition, segment = (bytes([byte]) for byte in delimiters)
    lines = USUAL[0].translate(None, b"\r\n")
    plain = lines.replace(b"^", b"\x01").replace(b":", b"\x02").replace(b"*", b"\x03").replace(b"~", b"\x04")
    data = plain.replace(b"\x01", repetition).replace(b"\x02", component).replace(b"\x03", element)

    assert agree(data.replace(b"\x04", segment)) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CORPUS)))
def test_the_corpus_is_read_alike_or_not_at_all(path: Path) -> None:
    agree(path.read_bytes())


_TERMINATED = re.compile(rb"(?<=~)")
_PIECES = [
    *(
        b"CLM*X*1~",
        b"clm*X*1~",
        b"Clm*X*1~",
        b"HL*9*1*22*0~",
        b"HL*9**20*1~",
        b"HL*3*2*23*0~",
        b"~",
        b"\n",
        b" ",
        b"1~",
    ),
    *(b"SE*1*0001~", b"ST*837*0002~", b"GS*HC~", b"GE*1*1~", b"IEA*1*000000001~", b"TA1*1~", b"NM1*85*2*X*****XX*1~"),
    *(
        b"NM1*PR*2*X*****PI*9~",
        b"REF*EI*1~",
        b"SBR*P*18*~",
        b"X~",
        b"ISA~",
        b"\x1a",
        b"junk",
        b"K3*" + b"x" * 5000 + b"~",
    ),
]


@pytest.mark.parametrize("data", [USUAL[0], USUAL[-1]], ids=["professional", "institutional"])
def test_every_change_of_one_segment_is_read_alike_or_not_at_all(data: bytes) -> None:
    taken = sum(agree(b"".join(segments)) is not None for segments in changed_once(_TERMINATED.split(data), _PIECES))

    assert taken


@given(st.sampled_from(USUAL).flatmap(lambda data: changed(_TERMINATED.split(data), _PIECES)))
@settings(max_examples=800)
def test_changed_segments_are_read_alike_or_not_at_all(segments: list[bytes]) -> None:
    agree(b"".join(segments))


@given(st.sampled_from(USUAL), st.integers(0, 5000), st.binary(min_size=0, max_size=2), st.booleans())
@settings(max_examples=800)
def test_changed_bytes_are_read_alike_or_not_at_all(data: bytes, place: int, other: bytes, replace: bool) -> None:
    at = place % len(data)

    agree(data[:at] + other + data[at + replace :])


@given(st.sampled_from(USUAL), st.integers(0, 5000))
def test_a_part_of_a_batch_is_never_taken_for_the_batch(data: bytes, length: int) -> None:
    whole = len(data.rstrip())

    assert read_single(data[: length % whole]) is None
