"""What the worker tells about itself: logs, metrics, probes. No claim content, by construction."""

from worker.telemetry.events import EVENTS, Event
from worker.telemetry.http import serve_probes
from worker.telemetry.keys import KEYS
from worker.telemetry.logs import configure_logs, log_crashes

__all__ = ["EVENTS", "KEYS", "Event", "configure_logs", "log_crashes", "serve_probes"]
