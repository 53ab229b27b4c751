"""The explorer's page: whole, small, and safe from what a caption says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from itm_book.explorer import explorer, explorer_widget, in_page, live
from itm_book.pairs.pair_records import PairRecord
from itm_core.errors import InputError
from tests import scenes_pair

EVIL = '</script><script>alert(1)</script><b onmouseover="x">'


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[PairRecord]:
    return scenes_pair.records(tmp_path_factory.mktemp("explorer"), "scan-t2i-mean", "rcar-t2i")


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'data-explorer-records="\w+">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_it_is_small(records: list[PairRecord]) -> None:
    assert len(in_page.module("explorer").encode()) <= 60_000
    assert len(explorer.explorer(records).data.encode()) <= 300_000


def test_the_page_holds_the_numbers_of_the_records(records: list[PairRecord]) -> None:
    data = data_of(explorer.explorer(records, pinned=[records[0].pair.words[1]], top=2).data)
    methods = data.pop("methods")
    assert isinstance(methods, list)
    assert [method["name"] for method in methods] == ["scan-t2i-mean", "rcar-t2i"]
    assert methods[1]["directions"] == records[1].rounded()["directions"]
    assert methods[0]["colour"] != methods[1]["colour"]
    assert data["start"] == {"pins": [1], "top": 2, "truth": False}


def test_what_a_caption_says_cannot_end_its_script(records: list[PairRecord]) -> None:
    pair = replace(records[0].pair, caption=EVIL, words=[EVIL, *records[0].pair.words[1:]])
    page = explorer.explorer(replace(records[0], pair=pair, name=EVIL)).data
    assert page.count("</script>") == 2  # of the records, and of the module
    assert "<!--" not in page
    assert "<b onmouseover" not in page
    assert data_of(page)["caption"] == EVIL


def test_several_on_a_page_have_names_of_their_own(records: list[PairRecord]) -> None:
    pages = [explorer.explorer(records[0]).data for _ in range(2)]
    names = [re.findall(r'data-explorer="(\w+)"', page) for page in pages]
    assert names[0] != names[1]


def test_what_does_not_fit_is_refused(records: list[PairRecord]) -> None:
    with pytest.raises(InputError, match="wrong number of records"):
        explorer.explorer([])
    with pytest.raises(InputError, match="wrong number of records"):
        explorer.explorer([records[0]] * 3)
    other = replace(records[1], pair=replace(records[1].pair, image="another"))
    with pytest.raises(InputError, match="different pairs"):
        explorer.explorer([records[0], other])
    with pytest.raises(InputError, match="cannot pin.*zebra"):
        explorer.explorer(records, pinned=["zebra"])
    with pytest.raises(InputError, match="wrong number of boxes"):
        explorer.explorer(records, top=11)


def test_a_menu_has_every_pair_and_every_method(records: list[PairRecord]) -> None:
    other = [
        replace(record, pair=replace(record.pair, image="other"), name=record.name)
        for record in records
    ]
    menu = explorer.explorer_menu([records, other], groups=["best", "worst"], shown=1, truth=True)
    data = data_of(menu.data)
    pairs = data["pairs"]
    assert isinstance(pairs, list)
    assert [pair["image"] for pair in pairs] == [records[0].pair.image, "other"]
    assert [pair["group"] for pair in pairs] == ["best", "worst"]
    assert data["shown"] == 1
    assert data["start"] == {"top": 3, "truth": True, "folded": True}
    for pair in pairs:
        assert [method["name"] for method in pair["methods"]] == ["scan-t2i-mean", "rcar-t2i"]
    (pinned,) = pairs[0]["pins"]
    content, given = records[0].pair.content(), records[0].directions[0].contribution
    assert given[pinned] == max(given[content])
    many = [replace(records[0], name=f"method {k}") for k in range(4)]
    assert len(explorer.menu_payload([many], 0)["pairs"][0]["methods"]) == 4


def test_what_does_not_fit_a_menu_is_refused(records: list[PairRecord]) -> None:
    with pytest.raises(InputError, match="need the same methods.*found no pair"):
        explorer.explorer_menu([])
    with pytest.raises(InputError, match="need the same methods"):
        explorer.explorer_menu([records, records[:1]])
    with pytest.raises(InputError, match="no such pair"):
        explorer.explorer_menu([records], shown=1)
    with pytest.raises(InputError, match="wrong number of groups"):
        explorer.explorer_menu([records], groups=["one", "two"])


def test_the_live_one_asks_the_model_again(scenes_folder: Path) -> None:
    split = scenes_pair.scenes(scenes_folder)
    runs = {
        name: scenes_pair.trained(scenes_folder, name) for name in ("scan-t2i-mean", "rcar-t2i")
    }
    box = explorer_widget.live(runs, split, image=1, caption=2)
    (pictures, captions), (first, second) = (row.children for row in box.children[:2])
    shown = box.children[2]
    assert shown.records["caption"] == split.captions[split.place(1, 2)]
    assert [method["name"] for method in shown.records["methods"]] == list(runs)
    pictures.value = 3
    assert shown.records["image"] == split.ids[3]
    captions.value = 4
    assert shown.records["caption"] == split.captions[split.place(3, 4)]
    second.value = live.NONE
    assert [method["name"] for method in shown.records["methods"]] == ["scan-t2i-mean"]
    first.value = "rcar-t2i"
    assert len(shown.records["methods"][0]["directions"][0]["weights"]) == 2
    with pytest.raises(InputError, match="nothing to show"):
        explorer_widget.live({}, split)


def test_the_live_one_shows_why_nothing_can_be_drawn(
    scenes_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scenes_pair.trained(scenes_folder, "scan-t2i-mean")
    box = explorer_widget.live({"scan": run}, scenes_pair.scenes(scenes_folder))
    pictures, shown = box.children[0].children[0], box.children[2]

    def damaged(*_: object, **__: object) -> None:
        raise InputError("not readable as a picture")

    with monkeypatch.context() as patched:
        patched.setattr(explorer_widget, "pair_record", damaged)
        pictures.value = 1
        assert shown.records == {"problem": "not readable as a picture"}
    pictures.value = 2
    assert "problem" not in shown.records
