"""The catalogue of everything the worker logs: events, when they come, and what each asks of the operator.

To add an event, add a row to the module of its area; its keys are those of `worker.telemetry.keys`.
"""
