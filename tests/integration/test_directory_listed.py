"""Files named one by one: given once, left where they are."""

import os
from collections.abc import Iterable
from pathlib import Path

import anyio
import pytest

from tests.spools import batch, names
from worker.claim import Delivery
from worker.errors import SettingsError
from worker.settings import InputSettings
from worker.sources import ListedFiles
from worker.x12 import Survey, survey


async def all_of(source: ListedFiles) -> list[Delivery]:
    await source.open()
    found: list[Delivery] = []
    with anyio.fail_after(60):
        while deliveries := await source.take(2):
            found.extend(deliveries)
    return found


def code_of(delivery: Delivery) -> str:
    assert delivery.survey is not None
    assert delivery.survey.refusal is not None
    return delivery.survey.refusal.code


async def test_files_and_the_files_of_folders_are_given_once_and_stay(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deeper").mkdir(parents=True)
    (tmp_path / "folder" / "deeper" / "not_entered.837").write_bytes(batch(8))
    (tmp_path / "folder" / ".hidden").write_bytes(batch(9))
    for number, name in enumerate(["a.837", "folder/b.837", "folder/c.837"]):
        (tmp_path / name).write_bytes(batch(number))
    source = ListedFiles([tmp_path / "a.837", tmp_path / "folder", tmp_path / "a.837", tmp_path / "folder" / "b.837"])

    found = await all_of(source)
    await source.settle(found)
    await source.release(found)

    assert names(found) == {"a.837", "b.837", "c.837"}
    assert len(found) == 3
    assert {delivery.data for delivery in found} == {batch(0), batch(1), batch(2)}
    assert (tmp_path / "a.837").read_bytes() == batch(0)


async def test_names_of_one_file_do_not_make_the_list_look_used_up(tmp_path: Path) -> None:
    (tmp_path / "a.837").write_bytes(batch(1))
    (tmp_path / "b.837").write_bytes(batch(2))
    source = ListedFiles([tmp_path / "a.837", tmp_path / "a.837", tmp_path / "b.837"])

    taken = [await source.take(1) for _ in range(3)]

    assert [[delivery.name for delivery in found] for found in taken] == [["a.837"], ["b.837"], []]


async def test_a_path_that_does_not_exist_is_an_error_that_names_all_of_them(tmp_path: Path) -> None:
    source = ListedFiles([tmp_path / "a", tmp_path / "b"])

    with pytest.raises(SettingsError) as raised:
        await source.open()

    assert raised.value.problems == [f"{tmp_path}/a does not exist", f"{tmp_path}/b does not exist"]


async def test_what_cannot_be_processed_is_given_with_the_reason_in_its_survey(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge.837").write_bytes(b"")
    os.truncate(tmp_path / "huge.837", 5000)
    (tmp_path / "text").write_bytes(b"no claims here")
    (tmp_path / "half.837").write_bytes(batch()[:-20])
    paths = [tmp_path / name for name in ("fifo", "huge.837", "text", "half.837")]

    found = await all_of(ListedFiles(paths, InputSettings(max_batch_bytes=4000)))

    assert [(delivery.name, code_of(delivery)) for delivery in found] == [
        ("fifo", "not_a_file"),
        ("huge.837", "too_large"),
        ("text", "not_x12"),
        ("half.837", "incomplete"),
    ]
    assert all(delivery.data == b"" for delivery in found)


async def test_refusals_are_remembered_for_the_summary(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no claims here")
    source = ListedFiles([tmp_path / "text"])
    (delivery,) = await all_of(source)

    await source.refuse(delivery, "not_x12", "it is a text")

    assert source.refused == [("text", "not_x12", "it is a text")]


async def test_a_large_file_is_given_as_a_path(tmp_path: Path) -> None:
    data = batch(1, claims=30_000)
    (tmp_path / "large.837").write_bytes(data)

    (delivery,) = await all_of(ListedFiles([tmp_path / "large.837"]))

    assert delivery.path == tmp_path / "large.837"
    assert b"".join(delivery.chunks()) == data
    assert delivery.survey == survey([data])


@pytest.mark.fault(48)
@pytest.mark.parametrize(("changes", "code"), [(1, None), (100, "changing")])
async def test_a_file_that_changes_while_it_is_read_is_read_again_a_few_times(
    tmp_path: Path, changes: int, code: str | None
) -> None:
    path = tmp_path / "a.837"
    data = batch(0, claims=2)  # a file of one claim is read without the survey that this test steps into
    path.write_bytes(data)
    number = 0

    def meddling(chunks: Iterable[bytes]) -> Survey:
        nonlocal number
        found = survey(chunks)
        if number < changes:
            number += 1
            with path.open("ab") as file:
                file.write(batch(number))
        return found

    (delivery,) = await all_of(ListedFiles([path], survey=meddling))

    if code is None:
        assert delivery.data == data + batch(1)
    else:
        assert code_of(delivery) == code


async def test_the_same_file_has_the_same_ref_when_it_is_named_again(tmp_path: Path) -> None:
    (tmp_path / "a.837").write_bytes(batch())

    (first,) = await all_of(ListedFiles([tmp_path / "a.837"]))
    (second,) = await all_of(ListedFiles([tmp_path]))

    assert first.ref == second.ref
