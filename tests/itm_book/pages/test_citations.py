"""How to cite comes from CITATION.cff and references.bib; launch buttons from one setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_string

from itm_book.pages.citations import citation_page, own_entry
from itm_book.pages.site_config import staged_config
from itm_core.errors import InputError
from tests.places import PROJECT


def test_the_page_has_the_book_three_papers_and_a_row_for_each_method() -> None:
    page = citation_page(PROJECT)
    bibtex = re.search(r"```bibtex\n(.+?)\n```", page, re.DOTALL)
    assert bibtex
    entries = parse_string(bibtex[1], "bibtex").entries
    assert list(entries) == ["where_words_look", "rcar", "chan", "ccr"]
    assert entries["rcar"].fields["doi"] == "10.1109/TIP.2023.3266887"
    assert "code" not in entries["rcar"].fields
    rows = re.findall(r"^\| (.+?) \| \{cite\}`(\w+)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert len(rows) == 11
    assert all(links.startswith("[") for _, _, links, _ in rows)
    without_code = [name for name, _, _, code in rows if not code]
    assert without_code == ["CCR and CCS"]


def test_the_own_entry_takes_what_the_file_has(tmp_path: Path) -> None:
    path = tmp_path / "CITATION.cff"
    facts = {"title": "A Book", "version": "1", "authors": [{"name": "We"}, {"name": "You"}]}
    path.write_text(yaml.safe_dump(facts | {"date-released": "2026-01-02"}))
    entry = parse_string(own_entry(path), "bibtex").entries["where_words_look"]
    assert dict(entry.fields) == {"title": "A Book", "version": "1", "year": "2026"}
    assert len(entry.persons["author"]) == 2
    path.write_text("title: A Book\n")
    with pytest.raises(InputError, match=r"CITATION.cff.*not a citation file"):
        own_entry(path)


def test_buttons_are_there_with_a_repository_and_not_without(tmp_path: Path) -> None:
    source = PROJECT / "_config.yml"
    assert staged_config(source) == source.read_text()
    changed = tmp_path / "_config.yml"
    changed.write_text(source.read_text().replace('url: ""', "url: https://github.com/x/y", 1))
    config = yaml.safe_load(staged_config(changed))
    assert config["launch_buttons"]["binderhub_url"] == "https://mybinder.org"
    assert config["html"]["use_repository_button"] is True
    assert config["repository"] == {"url": "https://github.com/x/y", "branch": "main"}
    changed.write_text(source.read_text().replace('url: ""', "url: javascript:alert(1)", 1))
    with pytest.raises(InputError, match=r"not the address of a repository.*javascript"):
        staged_config(changed)
