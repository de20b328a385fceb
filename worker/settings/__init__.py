"""Settings: frozen, complete, checked at the start."""

from worker.settings.advice import warnings_of
from worker.settings.catalogue import Setting, describe
from worker.settings.environment import guarded
from worker.settings.load import load
from worker.settings.secret import Secret, masked_url, read_secret
from worker.settings.sections import (
    FlowSettings,
    InputSettings,
    OutputSettings,
    RetrySettings,
    Settings,
    StateSettings,
    TelemetrySettings,
)
from worker.settings.service import ApiSettings, AuthSettings, ClaimSettings

__all__ = [
    "ApiSettings",
    "AuthSettings",
    "ClaimSettings",
    "FlowSettings",
    "InputSettings",
    "OutputSettings",
    "RetrySettings",
    "Secret",
    "Setting",
    "Settings",
    "StateSettings",
    "TelemetrySettings",
    "describe",
    "guarded",
    "load",
    "masked_url",
    "read_secret",
    "warnings_of",
]
