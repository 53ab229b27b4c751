"""The papers' models: one that attends, composed from its settings, and one that pools."""

from __future__ import annotations

from itm_core.models.attending import Attending, AttendingSettings
from itm_core.models.matcher import DIRECTIONS, AttentionPass, DirectionOutput, Matcher, MatchOutput
from itm_core.models.pooled import Pooled, PooledSettings

__all__ = [
    "DIRECTIONS",
    "Attending",
    "AttendingSettings",
    "AttentionPass",
    "DirectionOutput",
    "MatchOutput",
    "Matcher",
    "Pooled",
    "PooledSettings",
]
