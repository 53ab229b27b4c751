"""Style sheets and icons of the built site, cut down to what its pages use.

The theme brings rules for every component of Bootstrap and three thousand icons; the pages use a
few dozen. A rule is kept unless each of its selectors needs a class that is named on no page and
in no script.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Set
from io import BytesIO
from pathlib import Path

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont

CLASS = re.compile(r"\.(-?[A-Za-z_](?:[\w-]|\\.)*)")
ALTERNATIVES = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)")
NAME = re.compile(r"[A-Za-z_][\w-]*")
NESTING = {"media", "supports", "layer", "container"}
FONT = re.compile(r"src:(url\([^)]*/(fa-[a-z]+-\d+)\.woff2\)[^;}]*)")
GLYPH = re.compile(r"\\([0-9a-f]{2,5})(?![0-9a-f])|([^\x00-\xff])")  # escaped, or as it is


def names_in(texts: Iterable[str]) -> set[str]:
    """Return every word of pages and scripts that could be the name of a class."""
    return {name for text in texts for name in NAME.findall(text)}


def used_rules(css: str, names: Set[str]) -> str:
    """Return a style sheet without the rules that apply to no page.

    Args:
        names: every name of a class that pages and scripts have, see `names_in`.

    >>> used_rules(".card, .btn:not(.off) { top: 0 } @media print { .card { top: 1px } }", {"btn"})
    '.btn:not(.off) { top: 0 }'
    """
    nodes = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
    return "".join(filter(None, (_kept(node, names) for node in nodes)))


def _kept(node: tinycss2.ast.Node, names: Set[str]) -> str:
    if node.type == "qualified-rule":
        selectors = _parts(node.prelude)
        used = [text for text in selectors if _classes(text) <= names]
        return f"{','.join(used)} {{{tinycss2.serialize(node.content)}}}" if used else ""
    if node.type == "at-rule" and node.lower_at_keyword in NESTING and node.content is not None:
        inside = tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True)
        kept = "".join(_kept(rule, names) for rule in inside)
        head = tinycss2.serialize(node.prelude)
        return f"@{node.at_keyword}{head}{{{kept}}}" if kept else ""
    return tinycss2.serialize([node])


def _parts(prelude: list[tinycss2.ast.Node]) -> list[str]:
    """Return the selectors of a rule; commas inside parentheses do not separate them."""
    parts: list[list[tinycss2.ast.Node]] = [[]]
    for node in prelude:
        if node == ",":
            parts.append([])
        else:
            parts[-1].append(node)
    return [tinycss2.serialize(part).strip() for part in parts]


def _classes(selector: str) -> set[str]:
    """Return the classes without which a selector applies to nothing."""
    return {name.replace("\\", "") for name in CLASS.findall(ALTERNATIVES.sub("", selector))}


def with_used_icons(css: str, fonts: Path) -> str:
    """Return a style sheet whose icon fonts are in itself, with no glyphs but those that it names.

    ``fonts`` is the folder of the theme's icon fonts.
    """
    glyphs = {int(code, 16) if code else ord(sign) for code, sign in GLYPH.findall(css)}

    def embedded(found: re.Match[str]) -> str:
        font = TTFont(fonts / f"{found[2]}.ttf")
        data = base64.b64encode(_subset(font, glyphs)).decode()
        return f'src:url("data:font/woff;base64,{data}") format("woff")'

    return FONT.sub(embedded, css)


def _subset(font: TTFont, glyphs: Set[int]) -> bytes:
    options = subset.Options(notdef_outline=False, hinting=False, layout_features=[])
    options.flavor = "woff"
    cut = subset.Subsetter(options)
    cut.populate(unicodes=glyphs & set(font.getBestCmap()))
    cut.subset(font)
    font.flavor = "woff"
    with BytesIO() as file:
        font.save(file)
        return file.getvalue()
