from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.pages.run_entries import RunEntry, recorded_entries, run_entries
from itm_book.pages.run_pages import runs_page, write_runs_page
from itm_book.records.results import Result, Uncommitted, every_recorded
from itm_book.tables.report import FOOTNOTE, MARK
from itm_book.tables.run_links import run_anchor, run_link
from itm_core.evaluation import retrieval
from itm_core.experiments import recipes, runs

METRICS = {
    "rsum": 264.32,
    "i2t_r1": 24.0,
    "t2i_r1": 11.68,
    "i2t_attention_f1": 0.469,
}
ENVIRONMENT = {
    "started": "2026-11-21T06:26:46+00:00",
    "packages": {"torch": "2.13.0+cpu"},
    "device": "cpu",
    "device_name": "A <fast> processor",
    "commit": "c0082a58b567",
    "seconds_training": 90,
}
MEAN = "scan-t2i-mean-smoke"


def write_run(
    root: Path,
    recipe: str = MEAN,
    *changes: str,
    seed: int = 0,
    finished: bool = True,
    **files: Any,
) -> Path:
    """Return the folder of a made-up run; ``files`` by name are written as they are."""
    config = {
        "dataset": "scenes-small",
        "fingerprint": "47f1da52b3d2cdc3",
        "seed": seed,
        "recipe": recipes.get(recipe).replace(*changes).to_dict(),
    }
    folder = runs.folder_of(config, root)
    folder.mkdir(parents=True)
    message = {"config.json": config}
    if finished:
        message |= {"metrics.json": METRICS, "environment.json": ENVIRONMENT}
    for name, content in message.items():
        (folder / name).write_text(json.dumps(content))
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder


def only(root: Path) -> RunEntry:
    (run,) = run_entries(root)
    return run


def cells(page: str) -> list[dict[str, str]]:
    """Return the rows of the page's table, as text by column."""
    names = re.findall(r"<th(?: [^>]*)?>(.*?)</th>", page)
    rows = re.findall("<tr id=.*?</tr>", page)
    texts = [
        [unescape(re.sub("<.*?>", "", cell)) for cell in re.findall("<td.*?</td>", row)]
        for row in rows
    ]
    return [dict(zip(names, row, strict=True)) for row in texts]


# --- what a row says ---------------------------------------------------------------------------


def test_a_finished_run_shows_its_numbers(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert cells(runs_page(run_entries(tmp_path))) == [
        {
            "dataset": "scenes-small",
            "recipe": MEAN,
            "changed": "",
            "seed": "0",
            "rSum": "264.3",
            "image to text R@1": "24.0",
            "text to image R@1": "11.7",
            "attention F1, word queries": "",
            "attention F1, region queries": "46.9",
            "minutes": "1.5",
            "device": "cpu",
            "torch": "2.13.0+cpu",
            "commit": "c0082a58b567",
            "started": "2026-11-21",
            "state": "finished",
        }
    ]


def test_numbers_of_uncommitted_code_are_marked(tmp_path: Path) -> None:
    old = json.dumps(ENVIRONMENT | {"commit": "c0082a58b567+"})
    write_run(tmp_path)
    assert MARK not in runs_page(run_entries(tmp_path))
    write_run(tmp_path, seed=1, environment_json=old)
    write_run(tmp_path, seed=2, finished=False, environment_json=old)  # has no number yet
    page = runs_page(run_entries(tmp_path))
    assert [row["rSum"] for row in cells(page)] == ["264.3", f"264.3{MARK}", ""]
    assert page.count(FOOTNOTE) == 1
    assert page.index("</table>") < page.index(FOOTNOTE) < page.index("</figure>")


def test_settings_are_those_that_the_recipe_has_otherwise(tmp_path: Path) -> None:
    few = ("matcher.attention_temperature=5.5", "encoder.normalise_words=false")
    write_run(tmp_path, MEAN, *few)
    many = [f"training.{name}=7" for name in ("epochs", "batch", "lr_decay_epochs", "dev_images")]
    write_run(tmp_path, MEAN, *many, seed=1)
    shown = {row["seed"]: row["changed"] for row in cells(runs_page(run_entries(tmp_path)))}
    assert set(shown["0"].split(", ")) == set(few)
    assert shown["1"].endswith("training.lr_decay_epochs=7, and 1 more")


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("training.learning_rate=0.00001", "training.dev_images=none", "encoder.weight_norm=true"),
        ("matcher.attention=hard",),
    ],
)
def test_the_command_makes_the_same_run_again(tmp_path: Path, changes: tuple[str, ...]) -> None:
    folder = write_run(tmp_path, MEAN, *changes, seed=3)
    run = only(tmp_path)
    program, command, *words = shlex.split(run.command())
    assert (program, command) == ("itm", "train")
    given = list(zip(words[::2], words[1::2], strict=True))
    told = dict(given)
    assert (told["--dataset"], told["--seed"]) == ("data/scenes-small", "3")
    recipe = recipes.get(told["--recipe"]).replace(*(v for k, v in given if k == "--set"))
    config = runs.Run(folder).config | {"recipe": recipe.to_dict()}
    assert runs.folder_of(config, tmp_path) == folder
    page = runs_page([run])
    assert run.command() in unescape(page)
    for change in changes:
        assert change.split("=")[0] in page


def test_runs_that_are_not_finished(tmp_path: Path) -> None:
    write_run(tmp_path, seed=0, finished=False)
    write_run(
        tmp_path, seed=1, finished=False, error_txt="Traceback:\n  x\nOutOf<Memory>: full\n\n"
    )
    write_run(tmp_path, seed=2, error_txt="an old error, since overcome")
    write_run(tmp_path, seed=3, finished=False, error_txt="")
    page = runs_page(run_entries(tmp_path))
    assert [row["state"] for row in cells(page)] == [
        "interrupted",
        "failed: OutOf<Memory>: full",
        "finished",
        "failed: no reason given",
    ]
    assert cells(page)[0]["rSum"] == ""
    assert "4 runs: 1 finished, 1 interrupted, 2 failed</figcaption>" in page


# --- links -------------------------------------------------------------------------------------


def test_every_row_has_the_name_that_other_pages_link_to(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "scan-t2i-LSE+rcr-smoke"), write_run(tmp_path, seed=1)]
    page = runs_page(run_entries(tmp_path))
    for folder in folders:
        anchor = run_anchor(folder)
        assert run_anchor("/".join(folder.parts[-3:])) == anchor
        assert re.fullmatch(r"run-scenes-small-scan-t2i-(lse-rcr|mean)-smoke-\d-\w{12}", anchor)
        assert page.count(f'<tr id="{anchor}">') == 1
        assert page.count(f'id="{anchor}-made"') == 1
        assert f'href="#{anchor}-made"' in page
        assert run_link(folder) == f"../book/runs.html#{anchor}"


# --- damage ------------------------------------------------------------------------------------

BAD_CONFIG = {
    "not json": "{",
    "a list": "[]",
    "nothing": "{}",
    "no recipe": '{"dataset": "d", "seed": 1, "recipe": []}',
    "no name": '{"dataset": "d", "seed": 1, "recipe": {"name": 3}}',
    "deep": "[" * 100_000,
    "a huge number": '{"seed": ' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("text", BAD_CONFIG.values(), ids=BAD_CONFIG)
def test_a_damaged_configuration_is_told(tmp_path: Path, text: str) -> None:
    write_run(tmp_path, seed=0, config_json=text)
    write_run(tmp_path, seed=1)
    damaged, whole = cells(runs_page(run_entries(tmp_path)))
    assert damaged["state"].startswith("damaged: config.json: ")
    assert (damaged["recipe"], damaged["seed"], damaged["rSum"]) == (MEAN, "0", "264.3")
    assert whole["state"] == "finished"


@pytest.mark.parametrize("text", ["", "{}", '{"rsum": "much"}', '{"rsum": NaN}', '{"rsum": 1e999}'])
def test_damaged_numbers_are_told(tmp_path: Path, text: str) -> None:
    write_run(tmp_path, metrics_json=text)
    (row,) = cells(runs_page(run_entries(tmp_path)))
    assert row["state"].startswith("damaged: metrics.json")
    assert row["rSum"] == ""


def test_lost_files_are_told_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    folder = write_run(tmp_path, seed=0)
    (folder / "environment.json").unlink()
    other = write_run(tmp_path, seed=1)
    (other / "config.json").unlink()
    (other / "environment.json").write_text('{"packages": [], "started": 5, "device": {}}')
    page = runs_page(run_entries(tmp_path))
    states = [row["state"] for row in cells(page)]
    assert states == [f"damaged: {lost}.json: file not found" for lost in ("environment", "config")]
    assert str(tmp_path) not in page


@pytest.mark.parametrize("part", [{"kind": "my_own"}, {"colour": "red"}, "none", {"steps": "many"}])
def test_a_recipe_that_this_version_cannot_read_is_no_damage(tmp_path: Path, part: object) -> None:
    recipe = recipes.get(MEAN).to_dict() | {"regulator": part}
    config = {"dataset": "scenes-small", "seed": 0, "recipe": recipe}
    write_run(tmp_path, config_json=json.dumps(config))
    run = only(tmp_path)
    assert run.state == "finished"
    assert run.command() == ""
    assert cells(runs_page([run]))[0]["changed"] == "cannot be compared"
    assert "not compared with a recipe" in runs_page([run])


@pytest.mark.parametrize("origin", [{"regulator_source": "f00"}, {"imported": {"file": "a.pth"}}])
def test_a_regulator_of_the_readers_own_or_an_import_has_no_command(
    tmp_path: Path, origin: dict[str, Any]
) -> None:
    folder = write_run(tmp_path)
    config = json.loads((folder / "config.json").read_text()) | origin
    (folder / "config.json").write_text(json.dumps(config))
    assert only(tmp_path).command() == ""


def test_what_a_folder_holds_is_text_and_nothing_else(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>\n\n# "heading"\n\u2028\ud800{{x}}'
    recipe = recipes.get(MEAN).to_dict() | {"name": evil}
    config = {"dataset": evil, "fingerprint": evil, "seed": 0, "recipe": recipe}
    environment = ENVIRONMENT | {"device": evil, evil: evil, "packages": {evil: evil}}
    write_run(
        tmp_path / "runs",
        config_json=json.dumps(config),
        environment_json=json.dumps(environment),
        error_txt=evil,
    )
    write_runs_page(tmp_path / "made" / "runs.md", tmp_path / "runs")
    page = (tmp_path / "made" / "runs.md").read_text(encoding="utf-8")
    assert "<script" not in page
    table = page.index("<figure")
    blocks = page[table:].split("\n\n")
    assert [block.split("\n")[0][:10] for block in blocks] == [
        "<figure cl",
        "## Setting",
        "<details c",
    ]


# --- size --------------------------------------------------------------------------------------


def test_hundreds_of_runs_stay_below_a_megabyte(tmp_path: Path) -> None:
    write_run(tmp_path, "saf+ccr+ccs-coco", "training.epochs=3", "training.lr_decay_epochs=3")
    page = runs_page([only(tmp_path)] * 300)
    assert len(page.encode()) < 800_000


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    assert run_entries(tmp_path / "nowhere") == []
    assert "No run" in runs_page([])


# --- the record --------------------------------------------------------------------------------


def test_a_recorded_run_says_what_its_folder_said(tmp_path: Path) -> None:
    (here,) = run_entries(write_run(tmp_path, MEAN, "training.epochs=3").parents[2])
    ranks = retrieval.Ranks(np.zeros(2, int), np.zeros(10, int))
    result = Result(
        dataset="scenes-small",
        recipe=MEAN,
        changes="training.epochs=3",
        seed=0,
        run="/".join(here.place),
        ranks=ranks,
        metrics=METRICS,
        where={
            "minutes": 1.5,
            "device": "cpu",
            "machine": "A <fast> processor",
            "torch": "2.13.0+cpu",
            "python": "3.11.7",
            "commit": "c0082a58b567",
            "made": "2026-11-21",
        },
        recorded=True,
    )
    averaged = replace(result, run=f"{result.run} + {result.run}")
    (recorded,) = recorded_entries([result, averaged])
    assert recorded.command() == here.command()
    ours, theirs = cells(runs_page([recorded])), cells(runs_page([here]))
    assert ours == [theirs[0] | {"state": "recorded"}]
    assert f'id="{run_anchor(result.run)}"' in runs_page([recorded])
    unknown = replace(result, recipe="gone-smoke")
    assert "cannot be compared" in runs_page(recorded_entries([unknown]))


def test_the_page_holds_the_record_of_runs_that_are_not_here(tmp_path: Path) -> None:
    every = recorded_entries(every_recorded())
    place = tmp_path / "store" / "/".join(every[0].place)
    place.mkdir(parents=True)
    (place / "error.txt").write_text("ValueError: of my own")
    write_runs_page(tmp_path / "runs.md", tmp_path / "store")
    shown = cells((tmp_path / "runs.md").read_text())
    assert len(shown) == len(every) > 50
    assert [row["state"] for row in shown].count("recorded") == len(every) - 1
    old = sum(isinstance(one.run, Uncommitted) for one in every_recorded() if " + " not in one.run)
    assert sum(row["rSum"].endswith(MARK) for row in shown) == old
    assert shown[0]["state"].startswith("failed: ValueError: of my own")
