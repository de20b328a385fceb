"""The status page: the tally as one small HTML document that loads nothing and reloads itself."""

from collections.abc import Iterable
from html import escape

from worker.tally import Tally

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 44rem; padding: 0 1rem; }
h1 { font-size: 1.25rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
table { border-collapse: collapse; width: 100%; }
th { font-weight: normal; text-align: left; } td { text-align: right; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #8884; padding: .2rem 0; }
.ready { color: #1a7f37; } .paused { color: #cf222e; font-weight: 600; }
"""

Row = tuple[str, float]


def status_page(tally: Tally, unready: str | None) -> str:
    """Write the page; `unready` says why the worker does not take claims, None if it does."""
    state = f'<p class="paused">not ready: {escape(unready)}</p>' if unready else '<p class="ready">ready</p>'
    sections = "".join(_table(title, rows) for title, rows in _sections(tally))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">'
        '<meta name="viewport" content="width=device-width"><title>precheck-worker</title>'
        f"<style>{_STYLE}</style></head><body><h1>Claim pre-check worker</h1>{state}{sections}"
        '<p><a href="/metrics">metrics</a> · <a href="/readyz">readyz</a> · <a href="/livez">livez</a></p>'
        "</body></html>"
    )


def _sections(tally: Tally) -> Iterable[tuple[str, Iterable[Row]]]:
    results = [(disposition.replace("_", " "), count) for disposition, count in tally.claims.items()]
    yield "Results since the start", [*results, ("in all", tally.claims_completed)]
    yield (
        "Now",
        [
            ("calls in flight", tally.in_flight),
            (_allowed(tally), tally.limit),
            ("claims queued", tally.queued),
            ("claims waiting for another attempt", tally.backing_off),
            ("results on their way out", tally.unsent_results),
            ("batches open", tally.batches_open),
        ],
    )
    yield (
        "Since the start",
        [
            ("batches settled", tally.batches_done),
            ("batches refused", tally.batches_refused),
            ("attempts", sum(tally.attempts.values())),
            ("of these repeats", tally.retries),
            ("tokens fetched", tally.token_refreshes),
        ],
    )
    if tally.answers:
        yield "Answers by HTTP status", [(str(status), count) for status, count in sorted(tally.answers.items())]


def _allowed(tally: Tally) -> str:
    reason = f" ({tally.limit_reason.replace('_', ' ')})" if tally.limit_reason else ""
    return f"calls allowed in flight{reason}"


def _table(title: str, rows: Iterable[Row]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{number:,.0f}</td></tr>" for name, number in rows)
    return f"<h2>{escape(title)}</h2><table>{cells}</table>"
