"""References lead below one folder or nowhere."""

import os
from pathlib import Path

import pytest

from worker.brokers.references import BadReference, file_reference, references_of
from worker.claim import SMALL_BYTES
from worker.settings import InputSettings


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    root = tmp_path / "shared"
    (root / "day").mkdir(parents=True)
    (root / "day/a b.837").write_bytes(b"ISA")
    (tmp_path / "outside.837").write_bytes(b"secret")
    return root


@pytest.mark.parametrize("reference", ["file:day/a b.837", "file:day/a%20b.837", "file:day/../day/a b.837"])
async def test_a_file_below_the_folder_is_read(shared: Path, reference: str) -> None:
    fetched = await references_of(InputSettings(reference_root=str(shared))).fetch(reference)

    assert (fetched.data, fetched.size) == (b"ISA", 3)


async def test_a_large_file_is_named_and_not_read(shared: Path) -> None:
    (shared / "large.837").write_bytes(b"x" * (SMALL_BYTES + 1))

    fetched = await references_of(InputSettings(reference_root=str(shared))).fetch(file_reference(shared / "large.837"))

    assert (fetched.data, fetched.path, fetched.size) == (None, shared / "large.837", SMALL_BYTES + 1)


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("file:../outside.837", "reference_outside"),
        ("file:%2e%2e/outside.837", "reference_outside"),
        ("file:///etc/passwd", "reference_outside"),
        ("file:/etc/passwd", "reference_outside"),
        ("file://host/etc/passwd", "reference_outside"),
        ("file:link.837", "reference_outside"),
        ("file:loop.837", "reference_unreadable"),
        ("file:fifo.837", "reference_unreadable"),
        ("file:day", "reference_unreadable"),
        ("file:a%00b", "reference_unreadable"),
        ("file:none.837", "reference_missing"),
        ("file:day/a b.837/x", "reference_missing"),
        ("http://host/a.837", "reference_unknown"),
        ("a.837", "reference_unknown"),
    ],
)
async def test_everything_else_is_refused_with_a_reason(shared: Path, reference: str, code: str) -> None:
    (shared / "link.837").symlink_to("../outside.837")
    (shared / "loop.837").symlink_to("loop.837")
    os.mkfifo(shared / "fifo.837")

    with pytest.raises(BadReference) as refused:
        await references_of(InputSettings(reference_root=str(shared))).fetch(reference)

    assert refused.value.code == code


async def test_without_a_folder_no_file_is_read(shared: Path) -> None:
    with pytest.raises(BadReference, match=r"input\.reference_root is not set"):
        await references_of(InputSettings()).fetch(file_reference(shared / "day/a b.837"))
