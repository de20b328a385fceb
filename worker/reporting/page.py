"""The report as one HTML page: no script, nothing fetched, light or dark; every text from outside is escaped."""

from html import escape

from worker.reporting.cards import (
    attempts_card,
    batches_card,
    claims_card,
    dispositions_card,
    fine,
    latency_card,
    parked_card,
    payers_card,
    reasons_card,
    throughput_card,
)
from worker.reporting.style import STYLE
from worker.reporting.subject import Report
from worker.reporting.words import duration, percent, time_text

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(report: Report) -> str:
    """Write the page."""
    figures = report.figures
    title = "Claim pre-check report"
    subject = ", ".join(sorted(figures.environments)) or "no results"
    span = f"{time_text(figures.first_at)} to {time_text(figures.last_at)} UTC" if figures.claims else ""
    told = " · ".join(filter(None, (subject, span, report.filters, f"made {time_text(report.made_at)} UTC")))
    identifiers = "Identifiers are masked." if report.masked else "This page holds patient data: treat it so."
    cards = [
        dispositions_card(report),
        reasons_card(report),
        payers_card(report),
        latency_card(figures),
        throughput_card(figures),
        attempts_card(figures),
        parked_card(report),
        batches_card(report),
        claims_card(figures.to_look_at),
    ]
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><meta name="referrer" content="no-referrer">'
        f"<style>{STYLE}</style></head><body><main>"
        f"<header><h1>{title}</h1><p>{escape(told)}</p></header>"
        f'<section class="tiles">{_tiles(report)}</section><div class="grid">{"".join(cards)}</div>'
        f"<footer>{identifiers} The latest result of each claim, out of the worker's ledger.</footer>"
        "</main></body></html>\n"
    )


def _tiles(report: Report) -> str:
    figures = report.figures
    accepted = fine(figures.dispositions)
    sent = figures.tries.total()
    per_claim = figures.attempts / sent if sent else 0.0
    tiles = (
        (f"{figures.claims:,}", "claims"),
        (percent(accepted, figures.claims), "accepted, edits included"),
        (f"{figures.claims - accepted:,}", "to correct or look at"),
        (f"{sum(group.claims for group in report.parked):,}", "parked, can be sent again"),
        (f"{per_claim:.2f}", "attempts per claim sent"),
        (duration(figures.latency_ms(0.95)), "95 % answered within"),
    )
    return "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in tiles
    )
