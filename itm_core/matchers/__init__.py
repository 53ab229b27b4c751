"""The papers' models; each file reads like its paper's method section."""

from __future__ import annotations

from itm_core.matchers.base import Matcher, Reading
from itm_core.matchers.scan import Scan, ScanSettings

__all__ = ["Matcher", "Reading", "Scan", "ScanSettings"]
