"""Progress of a running worker: a redrawn line on a terminal, a plain line now and then elsewhere."""

from time import monotonic

import anyio
from rich.live import Live
from rich.text import Text

from worker.cli.console import is_terminal, stderr
from worker.pipeline import Pipeline
from worker.tally import Tally

REDRAW_S = 0.25
PLAIN_EVERY_S = 5.0


async def show_progress(pipeline: Pipeline, tally: Tally) -> None:
    """Show progress on stderr until cancelled."""
    began = monotonic()
    console = stderr()
    if not is_terminal():
        while True:
            await anyio.sleep(PLAIN_EVERY_S)
            console.print(line(pipeline, tally, monotonic() - began))
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            live.update(Text(line(pipeline, tally, monotonic() - began)))
            await anyio.sleep(REDRAW_S)


def line(pipeline: Pipeline, tally: Tally, elapsed_s: float) -> str:
    """Say where the run stands: done of known, rate, in flight, dispositions, time left."""
    done, known = tally.claims_completed, pipeline.known_claims
    rate = done / elapsed_s if elapsed_s > 0 else 0.0
    parts = [f"{done:,} of {known:,} claims", f"{rate:,.0f}/s", f"{tally.in_flight} in flight"]
    if pipeline.turns.waiting:
        parts.append(f"{pipeline.turns.waiting:,} waiting to be sent again")
    parts += [f"{count:,} {name}" for name, count in tally.claims.items() if count]
    if rate > 0 and known > done:
        parts.append(f"{_duration((known - done) / rate)} left")
    if not pipeline.gate.is_open:
        parts.append("PAUSED: " + ", ".join(f"{reason} ({text})" for reason, text in pipeline.gate.reasons.items()))
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
