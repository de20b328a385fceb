"""The parts that every card of the report is made of."""

from collections.abc import Iterable, Sequence
from html import escape


def card(title: str, told: str, body: str, *, kind: str = "", none: str = "Nothing to show.") -> str:
    """Frame a body under its title, with a sentence that is escaped; say `none` where there is no body."""
    inside = body or f'<div class="none">{none}</div>'
    return f'<section class="card {kind}"><h2>{title}</h2><p>{escape(told)}</p>{inside}</section>'


def table(head: str, rows: Iterable[str]) -> str:
    """Lay out rows, each its cells, under a head."""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return scroll(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def scroll(inside: str) -> str:
    """Let what is too wide be scrolled."""
    return f'<div class="scroll">{inside}</div>'


def legend(parts: Sequence[tuple[str, str]]) -> str:
    """Name colours: pairs of class and name."""
    keys = "".join(f'<span><span class="key {escape(colour)}"></span>{escape(name)}</span>' for colour, name in parts)
    return f'<div class="legend">{keys}</div>'


def key(disposition: str) -> str:
    """Begin a cell with the colour of a disposition."""
    return f'<span class="key {escape(disposition)}"></span>'
