"""What references to objects may look like, and which of them lie in a place of the settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.brokers.references import BadReference, references_of
from worker.brokers.s3 import ObjectReference, parse_bucket
from worker.brokers.s3.address import parse_reference
from worker.errors import SettingsError
from worker.settings import InputSettings


@pytest.mark.parametrize(
    ("reference", "bucket", "key", "version", "etag"),
    [
        ("s3://claims/day/a.837", "claims", "day/a.837", "", ""),
        ("s3://claims/a b.837", "claims", "a b.837", "", ""),
        ("s3://claims/a%20b%3F.837?versionId=3sL4.k_~", "claims", "a b?.837", "3sL4.k_~", ""),
        ("s3://claims/a+b.837?etag=9a0364b9-2", "claims", "a+b.837", "", "9a0364b9-2"),
    ],
)
def test_a_reference_names_bucket_key_and_what_was_announced(
    reference: str, bucket: str, key: str, version: str, etag: str
) -> None:
    assert parse_reference(reference) == ObjectReference(bucket, key, version, etag)


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
        lambda key: not {".", ".."} & set(key.split("/"))
    )
)
def test_any_key_can_be_written_as_a_reference_and_read_again(key: str) -> None:
    wanted = ObjectReference("claims", key, "v1", "abc")

    assert parse_reference(str(wanted)) == wanted


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("s3:claims/a", "reference_unreadable"),
        ("s3://claims", "reference_unreadable"),
        ("s3://claims/", "reference_unreadable"),
        ("s3:///a", "reference_unreadable"),
        ("s3://key:hunter2@host/a", "reference_unreadable"),
        ("s3://claims/a%00", "reference_unreadable"),
        ("s3://claims/a%FF", "reference_unreadable"),
        ("s3://claims/" + "a" * 1025, "reference_unreadable"),
        ("s3://claims/a?versionId=", "reference_unreadable"),
        ("s3://claims/a?versionId=1&versionId=2", "reference_unreadable"),
        ("s3://claims/a?region=us-east-1", "reference_unreadable"),
        ('s3://claims/a?etag="x"%0d%0aHost: y', "reference_unreadable"),
        ("s3://claims/day/../a", "reference_outside"),
        ("s3://claims/day/%2e%2e/a", "reference_outside"),
    ],
)
def test_what_is_no_reference_is_refused_with_a_reason(reference: str, code: str) -> None:
    with pytest.raises(BadReference) as refused:
        parse_reference(reference)

    assert refused.value.code == code


@pytest.mark.parametrize(
    ("place", "reference", "inside"),
    [
        ("s3://claims/", "s3://claims/a.837", True),
        ("s3://claims", "s3://claims/day/a.837", True),
        ("s3://claims/day/", "s3://claims/day/a.837", True),
        ("s3://claims/day", "s3://claims/day/a.837", True),
        ("s3://claims/day", "s3://claims/day-of-others/a.837", False),
        ("s3://claims/day/", "s3://claims/a.837", False),
        ("s3://claims/day/", "s3://claims/day/", False),
        ("s3://claims/", "s3://claims-of-others/a.837", False),
    ],
)
def test_an_object_lies_in_a_place_or_not(place: str, reference: str, inside: bool) -> None:
    assert parse_bucket(place, setting="x").holds(parse_reference(reference)) is inside


@pytest.mark.parametrize("reference", ["s3://others/day/a.837", "s3://claims/a.837", "s3://claims/day/../a.837"])
async def test_an_object_outside_of_all_places_is_not_asked_for(reference: str) -> None:
    """Nothing listens at the endpoint: asking would be told as out of reach."""
    places = ("s3://claims/day/?region=r&endpoint=http://127.0.0.1:9",)

    with pytest.raises(BadReference) as refused:
        await references_of(InputSettings(reference_buckets=places)).fetch(reference)

    assert refused.value.code == "reference_outside"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s3:claims", "must be places like s3://bucket/folder/"),
        ("s3://My Claims/", "the bucket's name is none that S3 allows"),
        ("s3://", "the bucket's name is none that S3 allows"),
        ("s3://claims/day/../", "the folder after the bucket must be a plain one"),
        ("s3://claims/?regoin=x", "unknown parameter 'regoin', known are region, endpoint, ca_file"),
        ("s3://claims/?region=", "parameter region is empty"),
        ("s3://claims/?hunter2", "the parameters after ? cannot be read"),
        ("s3://claims/?endpoint=http://minio.example:9000", "parameter endpoint must be https"),
        ("s3://claims/?endpoint=https://k:hunter2@host", "parameter endpoint must not hold a user or password"),
    ],
)
def test_a_place_that_cannot_be_read_is_refused_by_name_and_without_secrets(place: str, told: str) -> None:
    with pytest.raises(SettingsError, match=r"input\.reference_buckets: ") as refused:
        references_of(InputSettings(reference_buckets=(place,)))

    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)
