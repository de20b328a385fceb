"""Documents with segments inserted, dropped, replaced or repeated, for the readers of X12 to agree on."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from hypothesis import strategies as st

Segment = TypeVar("Segment")


def changed_once(segments: Sequence[Segment], others: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Make every change of a single segment: each of `others` before and in the place of each, and each left out."""
    for place in range(len(segments)):
        before = list(segments[:place])
        after = list(segments[place + 1 :])
        yield [*before, *after]
        for other in others:
            yield [*before, other, segments[place], *after]
            yield [*before, other, *after]


@st.composite
def changed(draw: st.DrawFn, segments: Sequence[Segment], others: Sequence[Segment], most: int = 3) -> list[Segment]:
    """Change up to `most` segments; what comes in is one of `others` or a segment of the document itself."""
    result = list(segments)
    for _ in range(draw(st.integers(0, most))):
        place = draw(st.integers(0, len(result) - 1))
        match draw(st.sampled_from(["insert", "drop", "replace", "repeat"])):
            case "insert":
                result.insert(place, draw(st.sampled_from(others)))
            case "drop" if len(result) > 1:
                del result[place]
            case "replace":
                result[place] = draw(st.sampled_from(others))
            case _:
                result.insert(place, result[draw(st.integers(0, len(result) - 1))])
    return result
