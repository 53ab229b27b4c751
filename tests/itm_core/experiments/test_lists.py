"""The lists of recipes and of runs: complete, narrow, and printed without the large libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from itm_core.errors import InputError
from itm_core.experiments import recipe_list, recipes, run_list
from itm_core.experiments.methods import METHODS, PLUGINS, PROFILES
from itm_core.json_files import write_json

LARGE = ("torch", "pandas", "scipy", "numpy")
METRICS = dict.fromkeys(("i2t_r5", "i2t_r10", "t2i_r5", "t2i_r10"), 10.0)
METRICS |= dict.fromkeys(("i2t_median", "i2t_mean", "t2i_median", "t2i_mean"), 1.0)
METRICS |= {"i2t_r1": 12.5, "t2i_r1": 8.25, "rsum": 60.0}


def test_the_list_of_recipes_has_every_method_plug_in_and_ending() -> None:
    lines = recipe_list._lines()
    starts = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {*METHODS, *PLUGINS, *(f"-{name}" for name in PROFILES if name != "scenes")} <= starts
    assert set(recipe_list.PLUGINS) == set(PLUGINS)
    assert max(map(len, lines)) <= 100


def test_the_settings_of_a_recipe_are_what_a_change_takes() -> None:
    head, *lines = recipe_list.settings(["chan-smoke"])
    recipe = recipes.get("chan-smoke")
    assert head == f"chan-smoke: {recipe.paper}"
    assert "  training.epochs=6" in lines
    read = {line.strip().partition("=")[0] for line in lines}
    assert read == {f"{part}.{key}" for part, values in recipe.parts.items() for key, _ in values}
    with pytest.raises(InputError, match="unknown recipe"):
        recipe_list.settings(["scam"])


def test_names_are_completed_with_plug_ins() -> None:
    assert "scan-t2i-mean-smoke" in recipe_list.completions("scan")
    assert "saf+ccs+rcr" in recipe_list.completions("saf+ccs+r")


def finished_run(root: Path, name: str = "0-abc") -> Path:
    folder = root / "scenes-small" / "chan" / name
    ends = {name: [0.0, 100.0] for name in METRICS if not name.endswith(("median", "mean"))}
    write_json(folder / "metrics.json", METRICS | {"intervals": ends})
    recipe = {"name": "chan", "paper": "P", "encoder": {}}
    config = {"dataset": "scenes-small", "feature_width": 4, "region_count": 3, "seed": 0}
    write_json(folder / "config.json", config | {"recipe": recipe})
    return folder


def test_runs_are_listed_with_their_numbers_and_damages(tmp_path: Path) -> None:
    good, bad = finished_run(tmp_path), finished_run(tmp_path, "1-abc")
    (bad / "config.json").write_text("{}")
    listed = run_list.listed(tmp_path)
    head, first, second = listed.lines
    assert head.split()[0] == "rSum"
    assert first == f"  60.0     12.5      8.2  {good}"
    assert second.startswith(f"damaged{'':17} {bad}: ")
    assert (listed.count, listed.damaged) == (2, 1)


def test_a_store_without_runs_says_so(tmp_path: Path) -> None:
    assert run_list.listed(tmp_path / "none").lines == [
        f"no finished run in {tmp_path / 'none'}; itm train makes one"
    ]


@pytest.mark.parametrize("words", [["runs", "--root", "{}"], ["data", "list"], ["--help"]])
def test_lists_need_no_large_library(tmp_path: Path, words: list[str]) -> None:
    finished_run(tmp_path)
    few = LARGE if words[0] == "runs" else LARGE[:3]
    program = f"import sys; sys.modules.update(dict.fromkeys({few}))\n"
    program += "from itm_core.cli import main\n"
    program += f"sys.exit(main({[word.format(tmp_path) for word in words]}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
