"""The report's page: what it counts, what it never says, and that nothing from outside is taken for markup."""

import re
from collections.abc import Iterable
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.claim import Batch
from worker.cli.console import MEANINGS
from worker.cli.results import without_phi
from worker.ledger import Balance, ParkedGroup
from worker.reporting import Figures, Report, render
from worker.reporting.charts import Bar, bars, columns, share_bar
from worker.result import Disposition, Edit, Reason, Result
from worker.settings import Settings

HOSTILE = """"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;]]></style>"""
VOID = {"meta", "br"}
SELF_CLOSED = {"rect", "line"}


class Page(HTMLParser):
    """Reads a page strictly: every tag that opens closes, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SELF_CLOSED
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def result(ordinal: int = 1, disposition: str = "accepted", **fields: object) -> Result:
    known = Result(
        result_id=f"b:{ordinal}:1",
        claim_id=f"b:{ordinal}",
        generation=1,
        batch_id="b",
        batch_name="b.837",
        ordinal=ordinal,
        disposition=Disposition(disposition),
        reason=None if disposition == "accepted" else Reason("A7:562", "Wrong.", "277ca"),
        attempts=1,
        patient_control_number="PCN-1",
        claim_type="professional",
        payer_id="87726",
        provider_tax_id="123456789",
        provider_npi="1234567893",
        total_charge="100",
        received_at="2026-11-26T10:00:00.000Z",
        completed_at="2026-11-26T10:00:01.000Z",
        latency_ms=1000,
        environment="production",
    )
    return msgspec.structs.replace(known, **fields)


def page_of(
    results: Iterable[Result],
    parked: Iterable[ParkedGroup] = (),
    batches: Iterable[Balance] = (),
    *,
    filters: str = "",
    config: str = "",
) -> str:
    figures = Figures()
    for one in results:
        figures.add(one)
    made_at = "2026-11-26T11:00:00+00:00"
    return render(Report(figures, list(parked), list(batches), MEANINGS, made_at, filters=filters, config=config))


def books(name: str = "b.837", problem: str = "") -> Balance:
    return Balance(Batch(1, "b", name, 1.0), True, 3, {"accepted": 3}, 0, 1, problem)


def test_an_empty_report_is_a_whole_page_that_says_so() -> None:
    page = Page(page_of([]))

    assert "no results" in " ".join(page.text)
    assert "Nothing is parked." in page.text


def test_the_page_fetches_nothing_and_runs_nothing() -> None:
    page = Page(page_of([result(), result(2, "rejected")], batches=[books()]))

    assert not {"script", "link", "img", "iframe", "object", "form", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"src", "href"}]
    policies = [value or "" for name, value in page.attributes if name == "content"]
    assert any(value.startswith("default-src 'none'") for value in policies)
    assert "url(" not in page_of([result()])
    assert "@import" not in page_of([result()])


def test_what_is_counted_stands_in_words_and_numbers() -> None:
    many = [
        *(result(n) for n in range(1, 91)),
        *(result(n, "rejected") for n in range(91, 99)),
        result(99, "undelivered", reason=Reason("http_504", "No answer.", "http"), attempts=6, latency_ms=9000),
        result(100, "invalid", reason=Reason("bad_npi", "Not sent.", "worker"), attempts=0, latency_ms=None),
    ]
    parked = [ParkedGroup(books().batch, "undelivered", "http_504", 1)]

    text = " ".join(Page(page_of(many, parked, [books()], config="a b.toml")).text)

    assert "90.0 %" in text
    assert "104 calls for 99 claims sent" in text
    assert "precheck-worker retry --disposition undelivered --reason http_504 --config 'a b.toml'" in text
    assert "half within 1 s, 90 % within 1 s, 95 % within 1 s, 99 % within 9 s, all within 9 s" in text
    assert "balanced" in text


def test_books_that_do_not_balance_are_told_as_such() -> None:
    assert '<span class="bad">3 came, 2 are there</span>' in page_of([], batches=[books(problem="3 came, 2 are there")])


def test_a_share_of_all_but_one_is_not_told_as_all_nor_one_of_many_as_none() -> None:
    text = page_of([*(result(n) for n in range(9_999)), result(9_999, "rejected")])

    assert "100.0 %" not in text
    assert "0.0 %" not in text
    assert "99.9 %" in text
    assert "0.1 %" in text


PLAIN = Page(page_of([result(1, "rejected")], batches=[books(problem="x")]))


@given(st.text(max_size=60) | st.just(HOSTILE))
def test_no_text_from_outside_is_taken_for_markup(text: str) -> None:
    hostile = result(
        1, "rejected", claim_id=text, batch_name=text, payer_id=text or "x", total_charge=text,
        patient_control_number=text, reason=Reason(text, text, "277ca"), environment=text,
    )  # fmt: skip
    parked = [ParkedGroup(Batch(1, text, text, 1.0), "review", text, 1), ParkedGroup(books().batch, text, text, 1)]

    page = Page(page_of([hostile], parked, [books(text, text)], filters=text, config=text))

    assert set(page.tags) <= {*PLAIN.tags, "br"}
    assert {name for name, _ in page.attributes} <= {name for name, _ in PLAIN.attributes}


@given(st.text(max_size=40))
def test_charts_escape_what_they_are_named(text: str) -> None:
    for chart in (
        bars([Bar(text, {text: 1}, text)], label=text),
        columns([Bar(text, {text: 1}, text)], label=text),
        share_bar([(text, text, 1)], label=text),
    ):
        assert set(Page(chart).tags) <= {"svg", "text", "title", "rect", "line"}


CANARIES = {
    "patient_control_number": "CANARYPCN77",
    "payer_id": "CANARYMEMBER66",
    "provider_tax_id": "CANARYTAX88",
    "provider_npi": "CANARYNPI99",
    "payer_claim_number": "CANARYPAYER1",
    "message": "CANARYMESSAGE",
    "x12_999": "CANARY999",
    "x12_277ca": "CANARY277",
}


def test_masked_results_leave_no_identifier_and_no_word_of_the_payer_on_the_page() -> None:
    planted = result(1, "rejected", **CANARIES, edits=(Edit("A7", "562", None, None, None, "CANARYEDIT", "claim"),))

    page = page_of([without_phi(Settings())(planted)])

    assert "CANARY" not in page
    assert "77</td>" in page


def test_times_are_gathered_into_few_equal_steps_however_long_they_span() -> None:
    figures = Figures()
    for day in range(1, 29):
        for hour in range(24):
            figures.add(result(1, completed_at=f"2026-11-{day:02}T{hour:02}:30:00.000Z"))

    minutes, bins = figures.over_time(48)

    assert minutes == 1440
    assert [counts.total() for _, counts in bins] == [24] * 28
    assert bins[0][0] == "2026-11-01 00:00"


@pytest.mark.parametrize("days", [1, 60, 4_000])
def test_however_many_minutes_there_are_memory_is_bounded_and_none_is_lost(days: int) -> None:
    figures = Figures()
    for number in range(25_000):
        year, day = divmod(number * days // 25_000, 360)
        at = f"{2015 + year}-{day // 30 + 1:02}-{day % 28 + 1:02}T{number % 24:02}:{number % 60:02}:00.000Z"
        figures.add(result(1, completed_at=at, payer_id=f"P{number}", reason=Reason(f"R{number}", "x", "999")))

    _, bins = figures.over_time(48)

    assert len(bins) <= 49
    assert sum(counts.total() for _, counts in bins) == 25_000
    assert len(figures.payers) <= 5_001
    assert len(page_of([])) < len(render(Report(figures, [], [], MEANINGS, "2026"))) < 200_000


def test_latency_is_told_to_two_digits() -> None:
    figures = Figures()
    for latency in (1, 99, 1234, 98_765):
        figures.add(result(1, latency_ms=latency))

    assert [figures.latency_ms(share) for share in (0.25, 0.5, 0.75, 1.0)] == [1, 99, 1200, 99_000]


def test_the_style_sheet_names_a_colour_for_every_disposition_in_light_and_in_dark() -> None:
    page = page_of([])

    for name in Disposition:
        assert f"rect.{name} " in page or f"rect.{name}," in page
        assert f".key.{name} " in page or f".key.{name}," in page
    light, dark = re.findall(r":root \{(.*?)\}", page, re.DOTALL)
    assert set(re.findall(r"--[a-z_]+(?=:)", light)) == set(re.findall(r"--[a-z_]+(?=:)", dark))
