"""Static figures: functions that take plain arrays and return a matplotlib Figure."""

from __future__ import annotations
