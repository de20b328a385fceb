"""The oracle's readers of results: a torn line fails once all is done, and is passed over while a worker lives."""

import json
from pathlib import Path
from threading import Thread

import pytest

from tests.oracle import read_results, results_so_far, whole_lines


def test_results_that_are_being_written_are_read_up_to_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    records = [{"result_id": str(number), "text": "x" * 100} for number in range(200)]

    def write_byte_by_byte() -> None:
        with path.open("wb", buffering=0) as file:
            for record in records:
                for byte in json.dumps(record).encode() + b"\n":
                    file.write(bytes([byte]))

    writer = Thread(target=write_byte_by_byte)
    writer.start()
    while writer.is_alive():
        so_far = results_so_far(path)
        assert so_far == records[: len(so_far)]
    writer.join()

    assert results_so_far(path) == read_results(path) == records


@pytest.mark.parametrize("tail", [b'{"result_id": "2', b'{"result_id": "2"}'], ids=["half a record", "no line's end"])
def test_a_torn_line_fails_where_all_is_said_to_be_done(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"result_id": "1"}\n' + tail)

    assert results_so_far(path) == [{"result_id": "1"}]
    with pytest.raises(AssertionError, match="torn"):
        read_results(path)


def test_a_file_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    assert (whole_lines(tmp_path / "none"), read_results(tmp_path / "none")) == ([], [])
