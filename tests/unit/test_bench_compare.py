from pathlib import Path

import pytest

from worker.bench.figures import Figure, compared
from worker.cli import run_command_line


def figure(name: str, ratio: float | None) -> Figure:
    return Figure(name, ratio, None, "", "", {})


def test_figures_are_compared_by_their_ratio_where_both_runs_have_one() -> None:
    now = [figure("one file", 0.6), figure("new", 0.5), figure("without", None)]
    earlier = [figure("one file", 0.3), figure("gone", 0.5), figure("without", 0.5)]

    assert compared(now, earlier) == {"one file": 2.0}


@pytest.mark.parametrize("content", [None, b"{}", b"no json"])
def test_a_file_without_figures_is_an_error_before_anything_is_measured(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "figures.json"
    if content is not None:
        path.write_bytes(content)

    assert run_command_line(["bench", "--compare", str(path)]) == 2
