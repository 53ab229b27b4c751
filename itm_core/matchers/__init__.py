"""The papers' models: one that attends, composed from its settings, and one that pools."""

from __future__ import annotations

from itm_core.matchers.attending import Attending, AttendingSettings
from itm_core.matchers.base import DIRECTIONS, Look, Matcher, Reading, Seen
from itm_core.matchers.pooled import Pooled, PooledSettings

__all__ = [
    "DIRECTIONS",
    "Attending",
    "AttendingSettings",
    "Look",
    "Matcher",
    "Pooled",
    "PooledSettings",
    "Reading",
    "Seen",
]
