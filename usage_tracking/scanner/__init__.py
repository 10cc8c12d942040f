"""Find AI call sites by reading code. Imports neither Django nor the scanned project."""

from __future__ import annotations

from .data_files import CatalogError
from .recorded_urls import Tracking
from .report import Finding, Report
from .scan import CannotScanError, Options, scan

__all__ = ["CannotScanError", "CatalogError", "Finding", "Options", "Report", "Tracking", "scan"]
