"""The catalogue of events is what the worker really logs."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from worker.telemetry.events import EVENTS, NAMES, Event, find
from worker.telemetry.keys import KEYS

WORKER = Path(__file__).parents[2] / "worker"
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
EXCEPTION_KEYS = {"exc_info"}
MADE_OF_EXCEPTIONS = {"error", "error_code", "causes", "frames"}
ANY_KEY = "**"


class LogCall(NamedTuple):
    place: str
    level: str
    events: tuple[str, ...]
    keys: frozenset[str]


def log_calls(source: str, place: str) -> Iterator[LogCall]:
    """Find calls like ``log.info("event", key=…)`` on anything named log or on structlog's own getter."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
            continue
        if is_logger(node.func.value):
            keys = frozenset(keyword.arg for keyword in node.keywords if keyword.arg) - EXCEPTION_KEYS
            yield LogCall(f"{place}:{node.lineno}", node.func.attr, tuple(literals(node.args)), keys)


def is_logger(node: ast.expr) -> bool:
    match node:
        case ast.Name(id="log" | "_log" | "logger" | "LOG"):
            return True
        case ast.Attribute(attr="log" | "_log" | "logger"):
            return True
        case ast.Call(func=ast.Attribute(attr="get_logger")):
            return True
        case _:
            return False


def literals(arguments: list[ast.expr]) -> Iterator[str]:
    match arguments:
        case [ast.Constant(value=str(event))]:
            yield event
        case [ast.IfExp(body=body, orelse=orelse)]:
            yield from literals([body])
            yield from literals([orelse])


def keys_told(source: str) -> Iterator[tuple[str, set[str]]]:
    """Find the keys given with each event's name, whatever the call is made on; `ANY_KEY` if it is given more."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            for event in literals(node.args[:1]):
                yield event, {keyword.arg or ANY_KEY for keyword in node.keywords}


CALLS = [
    call
    for path in sorted(WORKER.rglob("*.py"))
    for call in log_calls(path.read_text(), str(path.relative_to(WORKER.parent)))
]


def test_the_search_finds_what_it_is_for() -> None:
    source = (
        'log.info("a.b", x=1, exc_info=True)\nself._log.error("c.d" if x else "e.f")\n'
        'structlog.get_logger().debug("g.h", **more)\nmath.log(1)\nproblem.error("x.y")\n'
    )

    found = list(log_calls(source, "x.py"))

    assert [call.events for call in found] == [("a.b",), ("c.d", "e.f"), ("g.h",)]
    assert found[0].keys == {"x"}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.place)
def test_every_log_call_is_in_the_catalogue_with_its_level_and_keys(call: LogCall) -> None:
    assert call.events, f"{call.place}: name the event with a literal"
    for name in call.events:
        event = find(name)
        assert event is not None, f"{call.place}: add {name} to worker/telemetry/catalogue"
        level = "error" if call.level in ("exception", "critical") else call.level
        assert event.level == level, f"{call.place}: {name} is a {event.level} in the catalogue"
        missing = call.keys - set(event.keys.split())
        assert not missing, f"{call.place}: {name} has {sorted(missing)} beyond the catalogue"


def test_every_event_is_told_somewhere_with_each_of_its_keys() -> None:
    told: dict[str, set[str]] = {}
    for path in WORKER.rglob("*.py"):
        for name, keys in keys_told(path.read_text()):
            told.setdefault(name, set()).update(keys)

    assert told.keys() >= NAMES
    for event in EVENTS:
        unused = set(event.keys.split()) - told[event.name] - MADE_OF_EXCEPTIONS
        assert not unused or ANY_KEY in told[event.name], f"{event.name} is never told with {sorted(unused)}"


def test_names_are_a_noun_and_a_participle_and_used_once() -> None:
    assert len(NAMES) == len(EVENTS)
    for event in EVENTS:
        noun, participle = event.name.split(".")
        assert noun.isidentifier()
        assert participle.isidentifier()


def test_every_key_of_an_event_has_a_shape_and_every_shape_is_used() -> None:
    used = {key for event in EVENTS for key in event.keys.split()}

    assert used == KEYS.keys()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_every_event_says_what_it_means_and_alarms_say_what_to_do(event: Event) -> None:
    assert event.meaning
    assert event.action or event.level in ("debug", "info")


def test_no_key_is_named_after_what_a_claim_holds() -> None:
    phi = {"patient_control_number", "provider_npi", "provider_tax_id", "payer_claim_number", "total_charge", "message"}

    assert not phi & KEYS.keys()
