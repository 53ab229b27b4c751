"""Pieces of a page that draw themselves: data and code stand in the page, no kernel, no network.

Each kind of piece is a module of this folder, ``<kind>.js``, with ``drawing.js`` before it.

Page: "First match".
"""

from __future__ import annotations

import json
import secrets
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def module(kind: str) -> str:
    """Return the source of a module that draws, with what all of them share."""
    names = ("drawing.js", f"{kind}.js")
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


def part(kind: str, data: dict[str, Any], without: str) -> str:
    """Return the piece of a page that shows ``data``; each has a name of its own.

    ``without`` is said where there is no JavaScript.
    """
    name = secrets.token_hex(6)
    return (
        f'<div data-{kind}="{name}"><noscript>{escape(without)}</noscript></div>\n'
        f'<script type="application/json" data-{kind}-records="{name}">{_safe(data)}</script>\n'
        f'<script type="module" data-{kind}-module="{name}">{module(kind)}\n'
        f'mount("{kind}", "{name}");</script>'
    )


def _safe(data: dict[str, Any]) -> str:
    """Return JSON that cannot end the script that it stands in, whatever a caption says."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
