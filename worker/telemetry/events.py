"""All events of the catalogue (`worker.telemetry.catalogue`), in the order of the README's table."""

from worker.telemetry.catalogue import intake, process, service, storage, work
from worker.telemetry.catalogue.event import Event

__all__ = ["EVENTS", "NAMES", "Event", "find"]

EVENTS: tuple[Event, ...] = (*process.EVENTS, *intake.EVENTS, *work.EVENTS, *service.EVENTS, *storage.EVENTS)

NAMES = frozenset(event.name for event in EVENTS)


def find(name: str) -> Event | None:
    """Look an event up by its name."""
    return next((event for event in EVENTS if event.name == name), None)
