from pathlib import Path

import msgspec
import pytest

from worker.bench.limiting import LONGEST_RECOVERY_S, Figures, Row, fixed, recovered_after_s, row
from worker.bench.services import CHANGE_AT, SERVICES
from worker.cli import run_command_line
from worker.cli.limitertable import print_rows


def figures(*stretches: tuple[float, float]) -> Figures:
    """Answer at a rate until a time, then at the next rate until the next."""
    answered, now = [], 0.0
    for until, per_s in stretches:
        while now < until:
            answered.append(now)
            now += 1.0 / per_s
    return Figures(answered, 0.0, 100, 0.0, now)


def test_goodput_is_the_answers_of_the_time_that_counts_by_its_seconds() -> None:
    assert Figures([1.0, 2.0, 3.0, 4.0, 5.0], 0.0, 100, 2.0, 5.0).goodput == 1.0


@pytest.mark.parametrize(
    ("after_change", "recovery_s"),
    [
        ([(CHANGE_AT + 180, 40.0)], 0),
        ([(CHANGE_AT + 30, 20.0), (CHANGE_AT + 180, 40.0)], 26),  # 20 s of which 16 are good are as good as needed
        ([(CHANGE_AT + 5, 60.0), (CHANGE_AT + 40, 10.0), (CHANGE_AT + 180, 40.0)], 38),  # what was in flight is no sign
        ([(CHANGE_AT + 20, 60.0), (CHANGE_AT + 50, 10.0), (CHANGE_AT + 180, 40.0)], 48),  # … however much it was
        ([(CHANGE_AT + 180, 20.0)], LONGEST_RECOVERY_S),
    ],
)
def test_recovered_is_where_no_stretch_of_time_is_bad_any_more(
    after_change: list[tuple[float, float]], recovery_s: int
) -> None:
    run = figures((CHANGE_AT, 40.0), *after_change)

    assert recovered_after_s(run, 40.0) == pytest.approx(recovery_s, abs=1)


def test_the_same_seed_is_the_same_run_and_another_is_another() -> None:
    service = SERVICES["sheds above 20"]

    assert fixed(service, 20, 1, seconds=60.0, since=10.0) == fixed(service, 20, 1, seconds=60.0, since=10.0)
    assert fixed(service, 20, 1, seconds=60.0, since=10.0) != fixed(service, 20, 2, seconds=60.0, since=10.0)


def test_a_row_names_the_best_fixed_bound_and_how_near_the_adaptive_limiter_came() -> None:
    found = row("sheds above 20", seeds=2)

    assert found.best_bound == 20
    assert 0.9 <= found.least_share <= found.share <= 1.05
    assert 0.0 < found.lost <= found.most_lost <= 0.031
    assert found.recovery_s is None


def test_the_table_shows_each_row_and_the_file_holds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        Row("sheds", 100, 35.8, 34.5, 0.96, 0.95, 0.011, 0.012, True, 27),
        Row("fails", 400, 142.1, 142.0, 1.0, 0.99, 0.01, 0.01, False, None),
        Row("stuck", 400, 142.1, 14.0, 0.1, 0.1, 0.01, 0.01, False, LONGEST_RECOVERY_S),
    ]

    print_rows(rows, json=tmp_path / "rows.json")

    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert shown[1] == "sheds 100 35.8/s 34.5/s 96% 95% 1.1% 1.2% 27 s"
    assert shown[2] == "fails 400 142.1/s 142.0/s 100% 99% 1.0%* 1.0%* -"
    assert shown[3].endswith(">= 90 s")
    assert msgspec.json.decode((tmp_path / "rows.json").read_bytes(), type=list[Row]) == rows


def test_rows_for_a_hyphen_go_to_stdout_alone_and_the_table_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [Row("sheds", 100, 35.8, 34.5, 0.96, 0.95, 0.011, 0.012, True, 27)]

    print_rows(rows, json=Path("-"))

    told = capsys.readouterr()
    assert msgspec.json.decode(told.out, type=list[Row]) == rows
    assert "sheds" in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("beside", [["--growth"], ["--latency"], ["--peers"], ["--compare", "figures.json"]])
def test_the_table_is_made_alone_for_it_measures_no_machine(beside: list[str]) -> None:
    assert run_command_line(["bench", "--limiter", *beside]) == 2
