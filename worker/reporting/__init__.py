"""The HTML report: figures of many results, drawn and laid out as one page that stands by itself."""

from worker.reporting.figures import Figures
from worker.reporting.page import render
from worker.reporting.subject import Report

__all__ = ["Figures", "Report", "render"]
