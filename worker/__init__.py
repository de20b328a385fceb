"""Precheck worker: sends X12 837 claims through a Claim Pre-Check API and leaves one true result for each."""

__version__ = "0.1.0"
