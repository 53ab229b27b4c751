"""Where the tests find the project and its reference numbers."""

from __future__ import annotations

from pathlib import Path

GOLDEN = Path(__file__).resolve().parent / "golden"
PROJECT = Path(__file__).resolve().parents[1]
