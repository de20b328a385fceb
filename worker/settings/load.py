"""From file, environment and overrides to settings that are complete and checked, or to everything that is wrong.

============ ================================================================================
file         TOML, one table a section
environment  ``PRECHECK_`` section ``__`` key, for example ``PRECHECK_INPUT__URL``; lists and
             tables are JSON; ``PRECHECK_ENVIRONMENT`` is the one without a section
overrides    by name, for example ``input.url``: what a command fixes itself (`demo`, `bench`)
============ ================================================================================

Later ones win. All problems are reported at once; no message holds a secret.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from worker.errors import SettingsError
from worker.settings.catalogue import Setting, describe
from worker.settings.checks import problems_of
from worker.settings.environment import with_defaults
from worker.settings.problem import Problem
from worker.settings.secret import masked
from worker.settings.section import Section
from worker.settings.sections import Settings
from worker.settings.sources import Given, from_file, from_overrides, from_variables

_NO_OVERRIDES: Mapping[str, object] = MappingProxyType({})


def load(
    config: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] = _NO_OVERRIDES,
    *,
    online: bool = True,
) -> Settings:
    """Load the settings; `online` is False for commands that never call the API and need no credentials.

    `overrides` maps names like ``input.url`` to values; None means not given.

    :raises SettingsError: if anything is wrong, with every problem in `problems`.
    """
    known = {setting.name: setting for setting in describe()}
    problems: list[Problem] = []
    given: list[Given] = []
    if config is not None:
        given += from_file(config, known, problems)
    given += from_variables(environ, known, problems)
    given += from_overrides(overrides, known, problems)
    values = _converted(given, known, problems)
    settings = _assembled(with_defaults(values))
    named = {problem.name for problem in problems}
    origins = {one.name: one.origin for one in given}
    found = [problem for problem in problems_of(settings, online=online) if problem.name not in named]
    problems += [_with_origin(problem, origins.get(problem.name)) for problem in found]
    if problems:
        raise SettingsError([str(problem) for problem in problems])
    return settings


def _converted(given: Iterable[Given], known: Mapping[str, Setting], problems: list[Problem]) -> dict[str, Any]:
    """Give every value its type; of several for one setting the last one counts, but all must be right."""
    values: dict[str, Any] = {}
    for one in given:
        setting = known[one.name]
        try:
            values[one.name] = setting.convert(one.value, text=one.text)
        except (ValueError, msgspec.DecodeError, RecursionError):
            problems.append(Problem(one.name, _wrong(setting, one)))
    return values


def _wrong(setting: Setting, given: Given) -> str:
    got = "got a value that is not shown" if setting.secret else f"got {masked(given.value)}"
    as_json = " as JSON" if given.text and setting.type.startswith(("a list", "a table")) else ""
    origin = f" ({given.origin})" if given.origin else ""
    return f"must be {setting.type}{as_json}, {got}{origin}"


def _with_origin(problem: Problem, origin: str | None) -> Problem:
    return problem._replace(text=f"{problem.text} ({origin})") if origin else problem


def _assembled(values: Mapping[str, Any]) -> Settings:
    parts: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            prefix = f"{field.name}."
            own = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
            parts[field.name] = field.type(**own)
        elif field.name in values:
            parts[field.name] = values[field.name]
    return Settings(**parts)
