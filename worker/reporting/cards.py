"""The report's cards, one function each: what it says of the figures, and how it is drawn."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from worker.ledger import ParkedGroup
from worker.reporting.charts import WIDE_WIDTH, Bar, bars, columns, meter, share_bar
from worker.reporting.elements import card, key, legend, scroll, table
from worker.reporting.figures import GROUPS, Figures, Row
from worker.reporting.subject import Report
from worker.reporting.words import attempts_text, duration, minutes_text, percent, short, spoken, time_text

MOST_BARS = 12
MOST_REASONS = 15
MOST_COLUMNS = 48
MOST_BATCHES = 100

ADVICE = {
    "undelivered": "No usable answer came. Once the service is well, send them again:",
    "undetermined": "The answer held no verdict. If that was passing, ask again:",
    "review": "A person must look at the answers first; then, if it makes sense:",
    "rejected": "Refused as requests, not as claims: mend query or settings first, then:",
}
LATENCY_STEPS_MS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)


def dispositions_card(report: Report) -> str:
    """Show: what became of the claims."""
    counts = report.figures.dispositions
    known = [(name, meaning, counts[name]) for name, meaning in report.meanings.items() if counts[name]]
    bar = share_bar([(name, spoken(name), count) for name, _, count in known], label="Claims by disposition")
    rows = [
        (
            f'<td class="short">{key(name)}{spoken(name)}</td>'
            f'<td class="number">{count:,}</td><td class="number">{percent(count, report.figures.claims)}</td>'
            f'<td class="wide">{escape(meaning)}</td>'
        )
        for name, meaning, count in known
    ]
    head = '<th>disposition</th><th class="number">claims</th><th class="number">share</th><th>meaning</th>'
    body = bar + '<div style="height:10px"></div>' + table(head, rows) if known else ""
    return card("Dispositions", "What became of the claims.", body)


def reasons_card(report: Report) -> str:
    """Show: why claims were not simply accepted."""
    figures = report.figures
    most = figures.reasons.most_common(MOST_REASONS)
    rows = [
        f'<td class="short"><code>{escape(code)}</code></td>'
        f'<td class="short">{key(disposition)}{escape(spoken(disposition))}</td>'
        f'<td class="number">{count:,}</td><td>{meter(disposition, count, most[0][1])}</td>'
        f'<td class="wide">{escape(figures.reason_texts[disposition, code])}</td>'
        for (disposition, code), count in most
    ]
    more = len(figures.reasons) - len(rows)
    told = "Why claims were not simply accepted" + (f"; the {more:,} rarest are left out." if more > 0 else ".")
    head = '<th>reason</th><th>disposition</th><th class="number">claims</th><th></th><th>in words, of the first</th>'
    return card("Reasons", told, table(head, rows) if rows else "")


def payers_card(report: Report) -> str:
    """Show: how each payer's claims went."""
    payers = sorted(report.figures.payers.items(), key=lambda item: (-item[1].total(), item[0]))
    rows = [
        Bar(payer, _in_order(counts, report.meanings), f"{counts.total():,} · {percent(fine(counts), counts.total())}")
        for payer, counts in payers[:MOST_BARS]
    ]
    more = len(payers) - len(rows)
    told = "Claims by payer id, with the share accepted" + (
        f"; {more:,} smaller ones are left out." if more > 0 else "."
    )
    names = [name for name in report.meanings if report.figures.dispositions[name]]
    colours = legend([(name, spoken(name)) for name in names])
    return card("Payers", told, scroll(bars(rows, label="Claims by payer")) + colours if rows else "", kind="half")


def latency_card(figures: Figures) -> str:
    """Show: how long answers took."""
    bins: Counter[int] = Counter()
    for latency, count in figures.latencies_ms.items():
        bins[sum(latency > step for step in LATENCY_STEPS_MS)] += count
    if not bins:
        return card("Latency", "How long the last attempt of a claim took.", "", kind="half")
    names = [f"≤ {duration(step)}" for step in LATENCY_STEPS_MS] + [f"> {duration(LATENCY_STEPS_MS[-1])}"]
    many = [
        Bar(names[place], {"plain": bins[place]}, names[place].removeprefix("≤ "))
        for place in range(min(bins), max(bins) + 1)
    ]
    shares = ((0.5, "half"), (0.9, "90 %"), (0.95, "95 %"), (0.99, "99 %"), (1.0, "all"))
    told = ", ".join(f"{name} within {duration(figures.latency_ms(share))}" for share, name in shares)
    body = scroll(columns(many, label="Claims by latency"))
    return card("Latency", f"How long the last attempt of a claim took: {told}.", body, kind="half")


def attempts_card(figures: Figures) -> str:
    """Show: how many attempts claims took."""
    many = [Bar(attempts_text(tries), {"plain": figures.tries[tries]}) for tries in sorted(figures.tries)][:MOST_BARS]
    told = f"{figures.attempts:,} calls for {figures.tries.total():,} claims sent"
    if figures.ambiguous:
        told += f", {figures.ambiguous:,} of them with an unknown outcome"
    if figures.duplicates:
        told += f"; {figures.duplicates:,} claims were told an earlier result again"
    body = scroll(bars(many, label="Claims by attempts", width=360, names=90)) if many else ""
    return card("Attempts", f"{told}.", body, kind="narrow")


def throughput_card(figures: Figures) -> str:
    """Show: how many results came when."""
    minutes, bins = figures.over_time(MOST_COLUMNS)
    days = len({at[:10] for at, _ in bins}) > 1
    order = dict.fromkeys(GROUPS.values())
    many = [
        Bar(f"{at} UTC", _in_order(counts, order), at[5:10] if days and minutes >= 720 else at[11:])
        for at, counts in bins
    ]
    colours = legend([("accepted", "accepted"), ("refused", "rejected or invalid"), ("unclear", "without a verdict")])
    body = scroll(columns(many, label="Results over time", width=WIDE_WIDTH)) + colours if many else ""
    return card("Throughput", f"Results in each {minutes_text(minutes)}.", body, kind="wide-card")


def parked_card(report: Report) -> str:
    """Show: what is set aside, and what to do with it."""
    groups: dict[tuple[str, str], list[ParkedGroup]] = {}
    for group in report.parked:
        groups.setdefault((group.disposition, group.reason_code or ""), []).append(group)
    rows = []
    for (disposition, code), some in sorted(groups.items(), key=lambda item: -sum(one.claims for one in item[1])):
        command = f"precheck-worker retry --disposition {shlex.quote(disposition)}"
        command += f" --reason {shlex.quote(code)}" if code else ""
        command += f" --config {shlex.quote(report.config)}" if report.config else ""
        advice = ADVICE.get(disposition, "Look at the reason first; then:")
        rows.append(
            f'<td class="short">{key(disposition)}{escape(spoken(disposition))}</td>'
            f'<td><code>{escape(code or "-")}</code></td><td class="number">{sum(one.claims for one in some):,}</td>'
            f'<td class="number">{len(some):,}</td>'
            f'<td class="wide">{escape(advice)}<br><code>{escape(command)}</code></td>'
        )
    head = '<th>disposition</th><th>reason</th><th class="number">claims</th><th class="number">batches</th>'
    told = "Claims set aside that can be sent again. Stop the worker first; add --dry-run to see which they are."
    return card("Parked", told, table(head + "<th>what to do</th>", rows) if rows else "", none="Nothing is parked.")


def batches_card(report: Report) -> str:
    """Show: each batch's books."""
    rows = []
    for one in report.batches[:MOST_BATCHES]:
        kind = "bad" if one.problem else "good"
        rows.append(
            f"<td>{escape(one.batch.name)}<br><code>{escape(one.batch.batch_id)}</code></td>"
            f'<td class="short">{"done" if one.done else "open"}</td>'
            f'<td class="number">{"?" if one.claims is None else f"{one.claims:,}"}</td>'
            f'<td class="number">{sum(one.results.values()):,}</td><td class="number">{one.pending:,}</td>'
            f'<td class="number">{one.parked:,}</td>'
            f'<td><span class="{kind}">{escape(one.problem or "balanced")}</span></td>'
        )
    numbers = "".join(f'<th class="number">{name}</th>' for name in ("claims in", "results", "pending", "parked"))
    told = "Claims in = results + pending; first those that do not balance, then the newest."
    told += " Older ones are left out." if len(report.batches) > len(rows) else ""
    return card("Batches", told, table(f"<th>batch</th><th>state</th>{numbers}<th>books</th>", rows) if rows else "")


def claims_card(rows: Sequence[Row]) -> str:
    """Show: the newest claims that a person may want to look at."""
    drawn = [
        f'<td class="short"><code>{escape(row.claim_id)}</code><br>{escape(short(row.batch_name))}</td>'
        f'<td class="short">{key(row.disposition)}{escape(spoken(row.disposition))}</td>'
        f'<td class="wide">{escape(row.reason)}</td><td class="short">{escape(row.patient_control_number)}</td>'
        f'<td class="short">{escape(row.payer_id)}</td><td class="number">{escape(row.total_charge)}</td>'
        f'<td class="short">{time_text(row.completed_at)}</td>'
        for row in rows
    ]
    head = "<th>claim</th><th>disposition</th><th>reason</th><th>patient control no.</th><th>payer</th>"
    head += '<th class="number">charge</th><th>completed (UTC)</th>'
    told = f"The newest {len(rows):,} that were not simply accepted; precheck-worker results shows all."
    return card("Claims to look at", told, table(head, drawn) if drawn else "", none="Every claim was accepted.")


def _in_order(counts: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    return {name: counts[name] for name in names if counts.get(name)}


def fine(counts: Mapping[str, int]) -> int:
    """Count the claims that were accepted, with edits or without."""
    return sum(count for name, count in counts.items() if GROUPS.get(name) == "accepted")
