"""Self-contained interactive parts of a page: data and code are in the page.

Each kind of part is a module of this folder: ``drawing.js``, which all share, the files
``<kind>_*.js``, and ``<kind>.js``, joined in this order.

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
    """Return the source of a module, with the shared code before it."""
    pieces = [FOLDER / "drawing.js", *sorted(FOLDER.glob(f"{kind}_*.js")), FOLDER / f"{kind}.js"]
    return "\n".join(piece.read_text(encoding="utf-8") for piece in pieces)


def part(kind: str, data: dict[str, Any], without: str) -> str:
    """Return the HTML that draws ``data``, with a unique name.

    ``without`` is shown where there is no JavaScript.
    """
    name = secrets.token_hex(6)
    return (
        f'<div data-{kind}="{name}"><noscript>{escape(without)}</noscript></div>\n'
        f'<script type="application/json" data-{kind}-records="{name}">{_safe(data)}</script>\n'
        f'<script type="module" data-{kind}-module="{name}">{module(kind)}\n'
        f'mount("{kind}", "{name}");</script>'
    )


def _safe(data: dict[str, Any]) -> str:
    """Return JSON that cannot end the script element that contains it."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
