"""All settings as a list: what loading knows, what `--help` prints and the README shows.

Made from the annotations in `worker.settings.sections`; nothing is said twice.
"""

import difflib
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from worker.settings.section import Section, is_secret
from worker.settings.sections import Settings

VARIABLE_PREFIX = "PRECHECK_"


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: `name` is ``section.key``, `type` is in words, `variable` the environment's name for it."""

    name: str
    type: str
    default: Any
    variable: str
    meaning: str
    annotation: Any
    secret: bool

    def convert(self, value: object, *, text: bool = False) -> Any:
        """Give the value its type; `text` if it comes as text, where lists and tables are written in JSON.

        :raises ValueError: if it is not of this type or out of bounds; the message is of no use to users.
        """
        if text and get_origin(_bare(self.annotation)) in (tuple, dict):
            value, text = msgspec.json.decode(str(value)), False
        converted = msgspec.convert(value, self.annotation, strict=not text)
        if isinstance(converted, float) and not math.isfinite(converted):
            raise ValueError("not finite")
        return converted


def describe() -> list[Setting]:
    """List every setting in the order of the sections."""
    return list(_walk(Settings, prefix=""))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that was probably meant.

    A very similar key of the same section, or the same key of another one, or else what is similar at all.
    """
    names = list(known)
    section, _, key = name.rpartition(".")
    beside = {other.rpartition(".")[2]: other for other in names if section and other.startswith(f"{section}.")}
    by_key = {other.rpartition(".")[2]: other for other in reversed(names)}
    for candidates, least in ((beside, 0.8), (by_key, 1.0), (by_key | beside, 0.6)):
        if similar := difflib.get_close_matches(key, candidates, n=1, cutoff=least):
            return candidates[similar[0]]
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.8)), None)


def _walk(section: type[Section], prefix: str) -> Iterable[Setting]:
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from _walk(field.type, prefix=f"{field.name}.")
            continue
        name = f"{prefix}{field.name}"
        yield Setting(
            name=name,
            type=_in_words(field.type),
            default=field.default_factory() if field.default is msgspec.NODEFAULT else field.default,
            variable=VARIABLE_PREFIX + name.upper().replace(".", "__"),
            meaning=field.type.__metadata__[0].description,
            annotation=field.type,
            secret=is_secret(field.type),
        )


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _in_words(annotation: Any) -> str:
    bare = _bare(annotation)
    metas = getattr(annotation, "__metadata__", ())
    return " ".join([_kind(bare), *(words for meta in metas for words in _bounds(meta))])


def _kind(bare: Any) -> str:
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(f'"{word}"' for word in get_args(bare))
    if get_origin(bare) is tuple:
        item = get_args(bare)[0]
        return "a list of texts" if item is str else f"a list, each {_kind(item)}"
    if get_origin(bare) is dict:
        return "a table of texts"
    return {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[bare]


def _bounds(meta: msgspec.Meta) -> Iterable[str]:
    if meta.gt is not None:
        yield f"above {meta.gt}"
    if meta.ge is not None and meta.le is not None:
        yield f"from {meta.ge} to {meta.le}"
    elif meta.ge is not None:
        yield f"of at least {meta.ge}"
    if meta.min_length:
        yield "and not empty"
