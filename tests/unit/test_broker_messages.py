"""Messages keep who they are: the same ref for a redelivery, another for another delivery."""

import msgspec
import pytest

from worker.brokers.fitting import fitted
from worker.brokers.held import Held
from worker.brokers.messages import CODE, NAME, REFERENCE, TEXT, Message, dead_letter, message_from, ref_of
from worker.errors import StateError
from worker.result import Disposition, Edit, Reason, Result, decode_result, encode_result


def ref(message: Message, identity: str = "") -> str:
    return ref_of("redis", "claims", message, identity=identity)


def test_a_ref_is_the_brokers_identity_unless_the_producer_gives_one() -> None:
    body = b"ISA"

    assert ref(Message(body), "1") == ref(Message(body), "1")
    assert ref(Message(body), "1") != ref(Message(body), "2")
    assert ref(Message(body, message_id="a"), "1") == ref(Message(body, message_id="a"), "2")
    assert ref(Message(body, message_id="a")) != ref(Message(body, message_id="b"))


def test_other_content_under_one_message_id_is_another_delivery() -> None:
    assert ref(Message(b"one", message_id="a")) != ref(Message(b"two", message_id="a"))
    assert ref(Message(b"", message_id="a", reference="file:1")) != ref(
        Message(b"", message_id="a", reference="file:2")
    )


def test_headers_go_and_come_back_and_names_are_made_printable() -> None:
    message = Message(b"ISA", name="a.837", reference="file:a", headers={"x": "y"})

    assert message.all_headers() == {NAME: "a.837", REFERENCE: "file:a", "x": "y"}
    assert message_from(b"ISA", message.all_headers()).all_headers() == message.all_headers()
    assert message_from(b"", {NAME: "a\nb"}).name == "a?b"
    assert "ISA" not in repr(message)


def test_a_dead_letter_is_the_message_with_its_reason() -> None:
    letter = dead_letter(Message(b"ISA", name="a.837", message_id="1"), "a.837", "poison", "it kills")

    assert (letter.body, letter.message_id) == (b"ISA", "1")
    assert letter.all_headers() == {NAME: "a.837", CODE: "poison", TEXT: "it kills"}


def test_a_redelivery_of_a_held_message_is_no_second_one_and_both_handles_settle_it() -> None:
    held = Held()

    assert held.meet("a", 1)
    assert not held.meet("a", 2)
    assert not held.meet("a", 2)
    assert held.handles() == [2]
    assert held.drop(["a", "b"]) == [1, 2]
    assert "a" not in held


def result(**fields: object) -> Result:
    made = Result(
        result_id="b:1:1", claim_id="b:1", generation=1, batch_id="b", batch_name="a.837", ordinal=1,
        disposition=Disposition.REJECTED, reason=Reason("A3:1", "told " * 100, "277ca"), attempts=1,
        patient_control_number="PCN", claim_type=None, payer_id=None, provider_tax_id=None, provider_npi=None,
        total_charge=None, received_at="t", completed_at="t", environment="simulator",
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def test_a_result_that_fits_is_left_as_it_is() -> None:
    body = encode_result(result(x12_277ca="x" * 1000))

    assert fitted(body, len(body)) == (body, ())


@pytest.mark.fault(45)
@pytest.mark.parametrize(
    ("most_bytes", "left_out"),
    [
        (3900, ("x12_999",)),
        (2900, ("x12_999", "x12_277ca")),
        (2000, ("x12_999", "x12_277ca", "edits")),
        (1150, ("x12_999", "x12_277ca", "edits", "reason.text")),
    ],
)
def test_a_result_that_is_too_large_goes_without_its_largest_parts_and_keeps_its_verdict(
    most_bytes: int, left_out: tuple[str, ...]
) -> None:
    edit = Edit("c", "s", None, None, None, "e" * 500, "claim")
    whole = encode_result(result(x12_999="9" * 1000, x12_277ca="2" * 1000, edits=(edit, edit)))

    body, missing = fitted(whole, most_bytes)

    kept = decode_result(body)
    assert len(body) <= most_bytes
    assert missing == left_out
    assert (kept.result_id, kept.disposition) == ("b:1:1", Disposition.REJECTED)
    assert kept.reason is not None
    assert kept.reason.code == "A3:1"


def test_an_absurd_limit_is_an_error_and_no_endless_try() -> None:
    with pytest.raises(StateError, match="does not fit into a message of 10"):
        fitted(encode_result(result()), 10)
