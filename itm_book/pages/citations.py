"""How to cite the book and its papers, and where the papers and their code are.

The book's own entry comes from ``CITATION.cff``, everything else from ``book/references.bib``: the
methods are the entries with a ``shorttitle``, and ``code`` is the address of the released code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from itm_book.records.yaml_files import read_yaml
from itm_core.errors import InputError
from itm_core.files import reading

CITATION = "CITATION.cff"
REFERENCES = Path("book", "references.bib")
ENTRY = re.compile(r"^@\w+\{(\w+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^  (\w+) *= \{(.*)\},?$", re.MULTILINE)
PAPERS = ("rcar", "chan", "ccr")  # the three that the book examines


def citation_page(root: Path) -> str:
    """Return the Markdown on how to cite, and a table of the methods' papers and code.

    Raises `InputError` when ``CITATION.cff`` or ``book/references.bib`` is missing or damaged.
    """
    with reading(root / REFERENCES):
        text = (root / REFERENCES).read_text(encoding="utf-8")
    entries = "\n\n".join((own_entry(root / CITATION), *(_entry_of(text, key) for key in PAPERS)))
    methods = ((key, dict(FIELD.findall(fields))) for key, fields in ENTRY.findall(text))
    rows = "".join(_row(key, fields) for key, fields in methods if "shorttitle" in fields)
    return (
        "(how-to-cite)=\n## How to cite\n\nPlease cite this book, and the papers whose methods you "
        f"used. The book and the three papers that it examines:\n\n```bibtex\n{entries}\n```\n\n"
        "(papers-and-code)=\n## Papers and code\n\n"
        "| Method | Paper | Links | Released code |\n|---|---|---|---|\n"
        f"{rows}\nAn empty cell: not known to us.\n\n"
    )


def own_entry(path: Path) -> str:
    """Return the BibTeX entry of the book from its ``CITATION.cff``."""
    facts = read_yaml(path)
    try:
        authors = " and ".join(f"{{{author['name']}}}" for author in facts["authors"])
        fields = {"title": facts["title"], "author": authors, "version": facts["version"]}
    except (KeyError, TypeError) as error:
        raise InputError(
            "not a citation file",
            file=path,
            expected="title, version, and authors with names",
            found=str(error),
        ) from None
    fields |= {"url": facts.get("repository-code"), "year": str(facts.get("date-released", ""))[:4]}
    lines = [f"  {name:<7} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join(("@software{where_words_look,", *lines, "}"))


def _entry_of(bibliography: str, key: str) -> str:
    """Return the text of an entry as it is in the file, without the book's own fields."""
    found = re.search(rf"^@\w+\{{{key},\n.*?^\}}", bibliography, re.MULTILINE | re.DOTALL)
    if found is None:
        raise InputError("no such entry", file=REFERENCES, expected=key)
    return re.sub(r"^  (shorttitle|code) .*\n", "", found[0], flags=re.MULTILINE)


def _row(key: str, fields: Mapping[str, str]) -> str:
    links = []
    if "doi" in fields:
        links.append(f"[doi:{fields['doi']}](https://doi.org/{fields['doi']})")
    if "eprint" in fields:
        links.append(f"[arXiv:{fields['eprint']}](https://arxiv.org/abs/{fields['eprint']})")
    address = fields.get("code", "")
    code = f"[{address.removeprefix('https://github.com/')}]({address})" if address else ""
    return f"| {fields['shorttitle']} | {{cite}}`{key}` | {', '.join(links)} | {code} |\n"
