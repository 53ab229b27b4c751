"""Optional libraries: what is said where one is not installed."""

from __future__ import annotations

import sys

import pytest

from itm_core import cli, extras
from itm_core.errors import InputError
from itm_core.extras import EXTRAS, extra_of, needs_extra, optional


def test_an_installed_library_is_imported() -> None:
    assert optional("json", "reading") is sys.modules["json"]


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError) as caught:
        optional("faiss", "itm search", then="index again")
    assert str(caught.value) == (
        'itm search needs the extra "search": pip install "itm-core[search]", then index again'
    )


def test_a_failed_import_is_traced_to_an_extra() -> None:
    assert extra_of(ModuleNotFoundError(name="matplotlib.pyplot")) == "book"
    assert extra_of(ModuleNotFoundError(name="itm_core.gone")) is None
    assert extra_of(ModuleNotFoundError()) is None
    assert str(needs_extra("itm data", EXTRAS["pooch"])).startswith('itm data needs the extra "pho')


def test_a_command_without_its_extra_exits_with_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "itm_book.datasets.download", raising=False)
    monkeypatch.delitem(sys.modules, "itm_book.datasets.status", raising=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert cli.main(["data", "get", "flickr8k"]) == 2
    assert capsys.readouterr().err == (
        'itm: itm data needs the extra "photographs": pip install "itm-core[photographs]"\n'
    )


def test_a_long_command_is_refused_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "papermill" else name)
    assert cli.main(["book"]) == 2
    assert capsys.readouterr().err == (
        'itm: itm book needs the extra "book": pip install "itm-core[book]"\n'
    )


def test_a_module_of_ours_that_is_gone_is_a_mistake_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "itm_core.experiments.recipes", None)
    monkeypatch.delattr("itm_core.experiments.recipes", raising=False)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["recipes", "chan"])
