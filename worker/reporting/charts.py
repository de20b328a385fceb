"""Charts as inline SVG. Colours are classes of the page's style sheet; every text is escaped here."""

from collections.abc import Mapping, Sequence
from html import escape

import msgspec

from worker.reporting.words import short, spoken

HALF_WIDTH = 540
WIDE_WIDTH = 760
FULL_WIDTH = 1120
VALUE_WIDTH = 120
ROW_HEIGHT = 30
PLOT_HEIGHT = 170
AXIS_HEIGHT = 26
SCALE_WIDTH = 52
COLUMN_WIDTH = 76
LABEL_PITCH = 70
LABEL_CHARACTERS = 18


class Bar(msgspec.Struct, frozen=True):
    """A bar or column: what it stands for, and the parts it is made of, by class."""

    label: str
    parts: Mapping[str, int]
    told: str = ""

    @property
    def total(self) -> int:
        """Its whole length."""
        return sum(self.parts.values())


def share_bar(parts: Sequence[tuple[str, str, int]], *, label: str) -> str:
    """Draw shares of a whole side by side; a part is its class, its name and its size."""
    whole = sum(size for _, _, size in parts) or 1
    drawn, left = [], 0.0
    for colour, name, size in parts:
        width = FULL_WIDTH * size / whole
        drawn.append(
            f'<rect class="{escape(colour)}" x="{left:.1f}" y="0" width="{max(width - 1, 0.6):.1f}" height="30">'
            f"<title>{escape(name)}: {size:,}</title></rect>"
        )
        left += width
    return _svg(FULL_WIDTH, 30, label, "".join(drawn), rounded=True)


def meter(colour: str, size: int, longest: int) -> str:
    """Draw one bar for a cell of a table, as long as `size` is of `longest`."""
    width = 160 * size / (longest or 1)
    bar = f'<rect class="{escape(colour)}" x="0" y="0" width="{max(width, 1):.1f}" height="12" rx="2"/>'
    return f'<svg class="meter" viewBox="0 0 160 12" aria-hidden="true">{bar}</svg>'


def bars(rows: Sequence[Bar], *, label: str, width: int = HALF_WIDTH, names: int = 110) -> str:
    """Draw bars from left to right, one under the other, with their names before and their numbers after them."""
    longest = max((row.total for row in rows), default=0) or 1
    room = width - names - VALUE_WIDTH
    drawn = []
    for place, row in enumerate(rows):
        top, left = place * ROW_HEIGHT, float(names)
        name = escape(short(row.label, LABEL_CHARACTERS))
        drawn.append(
            f'<text class="name" x="{names - 10}" y="{top + 19}" text-anchor="end">{name}'
            f"<title>{escape(row.label)}</title></text>"
        )
        for colour, size in row.parts.items():
            length = room * size / longest
            drawn.append(
                f'<rect class="{escape(colour)}" x="{left:.1f}" y="{top + 6}" width="{max(length, 0.8):.1f}" '
                f'height="{ROW_HEIGHT - 12}">'
                f"<title>{escape(row.label)}: {size:,} {escape(spoken(colour))}</title></rect>"
            )
            left += length
        told = row.told or f"{row.total:,}"
        drawn.append(f'<text class="value" x="{left + 8:.1f}" y="{top + 19}">{escape(told)}</text>')
    return _svg(width, len(rows) * ROW_HEIGHT, label, "".join(drawn))


def columns(many: Sequence[Bar], *, label: str, width: int = HALF_WIDTH) -> str:
    """Draw columns side by side, with some of their names under them and the highest number beside."""
    highest = max((one.total for one in many), default=0) or 1
    pitch = min((width - SCALE_WIDTH) / max(len(many), 1), COLUMN_WIDTH)
    drawn = [_scale(highest, width)]
    every = -int(-LABEL_PITCH // pitch) if pitch < LABEL_PITCH / 1.5 else 1
    for place, one in enumerate(many):
        x, bottom = SCALE_WIDTH + place * pitch, float(PLOT_HEIGHT)
        for colour, size in one.parts.items():
            height = (PLOT_HEIGHT - 14) * size / highest
            bottom -= height
            drawn.append(
                f'<rect class="{escape(colour)}" x="{x + pitch * 0.08:.1f}" y="{bottom:.1f}" '
                f'width="{pitch * 0.84:.1f}" height="{height:.1f}">'
                f"<title>{escape(one.label)}: {size:,} {escape(spoken(colour))}</title></rect>"
            )
        if place % every == 0:
            drawn.append(
                f'<text class="tick" x="{x + pitch / 2:.1f}" y="{PLOT_HEIGHT + 17}" text-anchor="middle">'
                f"{escape(one.told or one.label)}</text>"
            )
    return _svg(width, PLOT_HEIGHT + AXIS_HEIGHT, label, "".join(drawn))


def _scale(highest: int, width: int) -> str:
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = PLOT_HEIGHT - (PLOT_HEIGHT - 14) * share
        lines.append(f'<line class="grid" x1="{SCALE_WIDTH}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        if share != 0.5 or highest > 1:
            value = f"{highest * share:,.0f}"
            lines.append(f'<text class="tick" x="{SCALE_WIDTH - 8}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    return "".join(lines)


def _svg(width: int, height: int, label: str, inside: str, *, rounded: bool = False) -> str:
    kind = ' class="rounded"' if rounded else ""
    box = f"0 0 {width} {max(height, 1)}"
    return f'<svg{kind} viewBox="{box}" role="img" aria-label="{escape(label)}">{inside}</svg>'
