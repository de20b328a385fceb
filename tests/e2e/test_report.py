"""`report` as a user runs it: one file for its owner alone, never in place of another, and beside a living worker."""

import os
from pathlib import Path

import pytest

from tests.e2e.harness import Simulator, Site
from tests.faults.crashing import put
from tests.oracle import assert_silent_about


@pytest.fixture
def checked(tmp_path: Path, simulator: Simulator) -> Site:
    site = Site(tmp_path, simulator.origin)
    put(site.inbox, files=3, claims=20)
    assert site.run_once().returncode == 0
    return site


def test_a_report_is_one_file_for_its_owner_and_is_replaced_by_force_alone(checked: Site) -> None:
    target = checked.root / "precheck-report.html"

    first = checked.run("report")
    page = target.read_bytes()
    again = checked.run("report")
    kept = target.read_bytes()
    forced = checked.run("report", "--force", "--batch", "none.837")

    assert (first.returncode, again.returncode, forced.returncode) == (0, 2, 0)
    assert first.stdout == b"precheck-report.html: 60 claims\n"
    assert b"is already there; --force replaces it" in again.stderr
    assert b"no results match" in forced.stderr
    assert first.stderr == b""
    assert kept == page
    assert target.read_bytes() != page
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in checked.root.iterdir() if path.name.startswith(".")] == []


def test_a_report_to_a_hyphen_goes_to_stdout_and_makes_no_file(checked: Site) -> None:
    piped = checked.run("report", "-o", "-")

    assert piped.returncode == 0
    assert (piped.stdout[:15], piped.stdout.rstrip()[-7:]) == (b"<!doctype html>", b"</html>")
    assert piped.stderr == b"stdout: 60 claims\n"
    assert not (checked.root / "-").exists()


def test_a_link_that_leads_elsewhere_is_not_followed(checked: Site) -> None:
    target = checked.root / "precheck-report.html"
    elsewhere = checked.root / "elsewhere"
    elsewhere.write_text("keep")
    target.symlink_to(elsewhere)

    refused = checked.run("report")
    forced = checked.run("report", "--force")

    assert (refused.returncode, forced.returncode) == (2, 0)
    assert elsewhere.read_text() == "keep"
    assert not target.is_symlink()


def test_what_is_no_regular_file_is_not_replaced_even_by_force(checked: Site) -> None:
    pipe = checked.root / "pipe"
    os.mkfifo(pipe)

    refused = checked.run("report", "--force", "--output", "pipe")

    assert refused.returncode == 2
    assert b"no regular file" in refused.stderr
    assert pipe.is_fifo()


def test_a_folder_that_is_not_there_is_named(checked: Site) -> None:
    refused = checked.run("report", "--output", "nowhere/r.html")

    assert refused.returncode == 2
    assert b"--output: cannot write nowhere/r.html" in refused.stderr


def test_filters_are_those_of_results_and_stand_on_the_page(checked: Site) -> None:
    done = checked.run("report", "--disposition", "rejected", "--reason", "A7:562", "--output", "r.html")

    page = (checked.root / "r.html").read_text()
    assert done.stdout == b"r.html: 0 claims\n"
    assert "only rejected, reason A7:562" in page


def test_patients_are_on_the_page_only_where_they_are_asked_for(tmp_path: Path, simulator: Simulator) -> None:
    site = Site(tmp_path, simulator.origin)
    given = put(site.inbox, files=2, claims=5, magic="E999-")
    assert site.run_once().returncode == 0

    masked, shown = site.run("report"), site.run("report", "--show-phi", "--output", "phi.html")

    assert (masked.returncode, shown.returncode) == (0, 0)
    page = (site.root / "precheck-report.html").read_bytes()
    assert_silent_about([*given.claims, *given.patients], page, masked.stdout, masked.stderr)
    assert all(number.encode() in (site.root / "phi.html").read_bytes() for number in given.claims)
