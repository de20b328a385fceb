"""Where settings come from: a TOML file, then environment variables, then overrides; later ones win.

Each source yields what it gives and adds what is wrong to the problems; nothing is converted here.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from worker.settings.catalogue import VARIABLE_PREFIX, Setting, nearest
from worker.settings.problem import Problem, shown_name

_MOST_CONFIG_BYTES = 1 << 20
# Kubernetes puts these into every pod beside a Service whose name starts with "precheck-".
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)\Z")
# The texts of tomllib end in the place; some quote what they found, which may be a secret.
_TOML_PLACE = re.compile(r" \((at line \d+, column \d+|at end of document)\)\Z")
_TOML_TWICE = ("Cannot declare", "Cannot overwrite", "Cannot mutate")
_TOML_QUOTE = re.compile(r"['\"(].*", re.DOTALL)


class Given(NamedTuple):
    """A value for the setting `name`, and where it was found; `text` if it came as text."""

    name: str
    value: object
    origin: str
    text: bool = False


Known = Mapping[str, Setting]


def from_file(path: Path, known: Known, problems: list[Problem]) -> Iterator[Given]:
    """Read the TOML file at `path`."""
    origin = str(path)
    try:
        document = _read_toml(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problems.append(Problem(origin, f"cannot be read: {reason}; name an existing file with --config, or none"))
        return
    except ValueError as error:
        problems.append(Problem(origin, str(error)))
        return
    sections = {name.partition(".")[0] for name in known if "." in name}
    for key, value in document.items():
        if key not in sections:
            yield from _if_known(key, value, origin, known, problems, sections)
        elif isinstance(value, dict):
            for inner, item in value.items():
                yield from _if_known(f"{key}.{inner}", item, origin, known, problems, ())
        else:
            problems.append(Problem(key, f"is a section: write [{key}] and its settings below ({origin})"))


def from_variables(environ: Mapping[str, str], known: Known, problems: list[Problem]) -> Iterator[Given]:
    """Read the variables that start with ``PRECHECK_``."""
    by_variable = {setting.variable: setting.name for setting in known.values()}
    for variable in sorted(environ):
        if not variable.startswith(VARIABLE_PREFIX) or ("__" not in variable and _SERVICE_LINK.search(variable)):
            continue
        if variable in by_variable:
            yield Given(by_variable[variable], environ[variable], variable, text=True)
        else:
            problems.append(Problem(shown_name(variable), "is no setting" + _hint(nearest(variable, by_variable))))


def from_overrides(overrides: Mapping[str, object], known: Known, problems: list[Problem]) -> Iterator[Given]:
    """Take values by name; None means not given."""
    for name, value in overrides.items():
        if value is not None:
            yield from _if_known(name, os.fspath(value) if isinstance(value, Path) else value, "", known, problems, ())


def _if_known(
    name: str, value: object, origin: str, known: Known, problems: list[Problem], sections: set[str] | tuple[()]
) -> Iterator[Given]:
    if name in known:
        yield Given(name, value, origin)
        return
    what = "section" if isinstance(value, dict) and "." not in name else "setting"
    hint = nearest(name, sections if what == "section" else [*known, *sections])
    where = f" ({origin})" if origin else ""
    problems.append(Problem(shown_name(name), f"is no {what}" + _hint(hint) + where))


def _hint(name: str | None) -> str:
    return f"; did you mean {name}?" if name else ""


def _read_toml(path: Path) -> dict[str, Any]:
    """Read the file.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is no TOML; the message says where and shows nothing of the content.
    """
    with path.open("rb") as stream:
        content = stream.read(_MOST_CONFIG_BYTES + 1)
    if len(content) > _MOST_CONFIG_BYTES:
        raise ValueError("is too large for settings")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_toml_problem(str(error))) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line}: not UTF-8 text") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _toml_problem(text: str) -> str:
    place = _TOML_PLACE.search(text)
    what = text[: place.start()] if place else text
    where = place.group(1).removeprefix("at ") if place else "somewhere"
    if what.startswith(_TOML_TWICE):
        return f"{where}: this table or key stands there twice; put both together"
    if not what.startswith("Expected"):
        what = _TOML_QUOTE.sub("…", what)
    return f"{where}: {what[:1].lower()}{what[1:]}; texts in TOML stand in quotes"
