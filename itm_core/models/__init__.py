"""The matchers of the papers: with cross-attention, and of pooled vectors."""

from __future__ import annotations

from itm_core.models.attending import Attending, AttendingSettings
from itm_core.models.matcher import DIRECTIONS, DirectionOutput, Matcher, MatchOutput
from itm_core.models.pooled import Pooled, PooledSettings
from itm_core.models.regulation import AttentionPass

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
