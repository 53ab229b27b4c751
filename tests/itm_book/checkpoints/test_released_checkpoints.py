"""Files as the releases write them, through the commands: the authors' scores, and trial runs.

Four files are by the releases' own training scripts, with the scores of their own evaluation; those
of six more are written from the lists of options and parts alone.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itm_core.cli import main
from itm_core.data.vocabulary import Vocabulary
from itm_core.evaluation import retrieval
from itm_core.experiments import runs
from tests.places import GOLDEN, PROJECT
from tests.releases import RELEASES, write

FILES = GOLDEN / "checkpoints"
DATASET = FILES / "dataset"
ORIGINALS = {
    "scan_t2i_lse": ("scan_t2i_lse.pth.tar", "scan"),
    "sgraf_saf": ("sgraf_saf.pth.tar", "sgraf"),
    "rcar_t2i_coop2": ("rcar_t2i_coop2.pth", "rcar"),
    "chan_gru_lse": ("chan_gru_lse.pth", "chan"),
}
NAMES = {  # reference files of the same model classes: the names of the weights are read off them
    "bfan": "bfan_equal",
    "imram": "imram_full_step3",
    "pfan": "pfan_t2i_lse",
    "vsepp": "vsepp_cosine",
    "vseinf": "vseinf_region_bigru",
    "vsrn": "vsrn_f30k",
}
NARROWER = {24: 12, 12: 10, 224: 212}  # widths of their features and words -> those of the lists


def imported(path: Path, folder: Path) -> Path:
    assert main(["import", str(path), "--folder", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four files, imported."""
    place = tmp_path_factory.mktemp("originals")
    for name, (file, _) in ORIGINALS.items():
        imported(FILES / file, place / name)
    return place


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_lists_say_what_the_files_hold(name: str) -> None:
    file, family = ORIGINALS[name]
    content = torch.load(FILES / file, weights_only=False)  # our own copies
    release, model = RELEASES[family], content["model"]
    parts = [model] if release.single else model
    assert tuple(len(part) for part in parts) == release.tensors
    firsts = [list(part)[: len(wanted)] for part, wanted in release.with_first(parts)]
    assert firsts == [wanted for _, wanted in release.with_first(parts)]
    options = vars(content["opt"])
    assert {key: options[key] for key in release.options} == release.options


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_authors_scores_come_out(
    name: str,
    originals: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With the folder of results that is the default, and the numbers as papers print them."""
    monkeypatch.chdir(tmp_path)
    assert main(["score", str(originals / name), str(DATASET)]) == 0
    printed = capsys.readouterr().out
    out = Path("data/scores/dataset-test") / name
    theirs = np.load(FILES / f"{name}_scores.npy")
    np.testing.assert_allclose(np.load(out / "scores.npy"), theirs, atol=2e-5)
    assert str(out / "scores.npy") in printed
    found = retrieval.metrics(theirs).flat()
    numbers = [float(x) for x in printed.splitlines()[1].split()]
    assert numbers == pytest.approx([found[k] for k in retrieval.NUMBERS], abs=0.05)
    assert found["rsum"] == pytest.approx(numbers[-1], abs=0.05)


def full_names(family: str) -> dict[str, torch.Tensor]:
    """Random weights with the names of a release's model class, at the sizes of its list."""
    draw = torch.Generator().manual_seed(3)
    weights = {}
    with np.load(GOLDEN / f"{NAMES[family]}.npz") as file:
        for name in (n for n in file.files if n.startswith("weights/")):
            shape = [NARROWER.get(size, size) for size in file[name].shape]
            value = torch.randn(shape, generator=draw) * 0.2
            value = value.abs() + 0.5 if name.endswith("running_var") else value
            counter = name.endswith("num_batches_tracked")
            weights[name.removeprefix("weights/")] = torch.tensor(5) if counter else value
    return weights


def dataset(folder: Path) -> Path:
    """A dataset of the lists' widths: 36 regions of 12, boxes, and a vocabulary of 50 words."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    words = [f"w{k}" for k in range(46)]
    Vocabulary.from_captions(words, threshold=1).save(folder / "vocab.json")
    for split in ("train", "dev", "test"):
        np.save(folder / f"{split}_ims.npy", draw.normal(size=(4, 36, 12)).astype(np.float32))
        corner, size = draw.uniform(0, 60, (2, 4, 36, 2))
        np.save(
            folder / f"{split}_boxes.npy",
            np.concatenate([corner, corner + 4 + size], -1).astype(np.float32),
        )
        np.save(folder / f"{split}_img_sizes.npy", np.full((4, 2), 128))
        lines = [" ".join(draw.choice(words, draw.integers(2, 7))) for _ in range(20)]
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("family", NAMES)
def test_a_file_written_from_the_lists_alone_is_imported_and_scores(
    family: str, tmp_path: Path
) -> None:
    weights = full_names(family)
    release = RELEASES[family]
    path = write(tmp_path / "model_best.pth.tar", family, weights)
    model = torch.load(path, weights_only=False)["model"]
    parts = [model] if release.single else model
    assert tuple(len(part) for part in parts) == release.tensors
    for part, wanted in release.with_first(parts):
        assert list(part)[:1] == wanted[:1]
        assert set(wanted) <= set(part)
    folder = imported(path, tmp_path / "imported")
    report = json.loads((folder / "import.json").read_text())
    assert len(report["used"]) + len(report["unused"]) == sum(release.tensors)
    assert all(".mlp.bns.1." in name for name in report["unused"])
    data = dataset(tmp_path / "data")
    out = tmp_path / "scores"
    assert main(["score", str(folder), str(data), "--out", str(out), "--device", "cpu"]) == 0
    scores = np.load(out / "scores.npy")
    assert scores.shape == (4, 20)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 20, "weights that are used tell pairs apart"


def test_constants_of_a_release_are_those_of_its_method(tmp_path: Path) -> None:
    """What no option names: the specification's."""
    found = {}
    for family in ("bfan", "pfan", "imram"):
        path = write(tmp_path / f"{family}.pth.tar", family, full_names(family))
        found[family] = runs.load(imported(path, tmp_path / family)).recipe
    bfan, pfan, imram = found["bfan"], found["pfan"], found["imram"]
    assert (bfan.matcher.direction, bfan.matcher.attention_temperature) == ("both", 20.0)
    assert (bfan.matcher.gate, bfan.matcher.normalisation) == ("equal", "clipped_l2norm")
    assert bfan.encoder.bidirectional
    assert pfan.encoder.positions == "released"
    assert pfan.matcher.max_attention_bonus
    assert (pfan.matcher.aggregation, pfan.matcher.lse_temperature) == ("LSE", 6.0)
    assert (imram.regulator.steps, imram.matcher.direction) == (3, "both")
    assert imram.matcher.aggregation == "mean", "whatever agg_func says: the release's code"
    assert imram.regulator.normalise_memory


def test_sgraf_is_scaled_by_nine(originals: Path) -> None:
    matcher = runs.load(originals / "sgraf_saf").recipe.matcher
    assert (matcher.attention_temperature, matcher.normalisation) == (9.0, "clipped_l2norm")


@pytest.mark.parametrize("shards", [0, 3])
def test_an_ensemble_averages_the_authors_scores(
    shards: int, originals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = ["scan_t2i_lse", "sgraf_saf", "rcar_t2i_coop2"]
    words = ["score", *(str(originals / name) for name in members), str(DATASET)]
    words += ["--out", str(tmp_path / "out"), "--folds", "5", "--device", "cpu"]
    words += ["--shards", str(shards), "--workers", "1"] if shards else []
    assert main(words) == 0
    theirs = np.mean([np.load(FILES / f"{name}_scores.npy") for name in members], axis=0)
    scores = np.load(tmp_path / "out" / "scores.npy")
    np.testing.assert_allclose(scores, theirs, atol=2e-5)
    folds = [theirs[2 * k : 2 * k + 2, 10 * k : 10 * k + 10] for k in range(5)]
    mean = np.mean([retrieval.metrics(fold).rsum for fold in folds])
    text = json.loads((tmp_path / "out" / "metrics-5-folds.json").read_text())
    assert text["rsum"] == pytest.approx(mean)
    assert f"{mean:8.1f}" in capsys.readouterr().out.split("means over 5 folds")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "3"], r"cannot be divided into these folds.*10 in all.*--folds 3"),
        (["--folds", "1"], "2 or more folds"),
        (["--folds", "5", "--top", "3", "--shards", "2"], r"leave out --top"),
        (["--split", "val"], "no val split here"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_anything_is_scored(
    words: list[str],
    message: str,
    originals: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["score", str(originals / "scan_t2i_lse"), str(DATASET), "--out", str(tmp_path / "o")]
    assert main([*command, *words]) == 2
    assert not (tmp_path / "o").exists()
    assert re.search(message, capsys.readouterr().err)


def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of ``book/checkpoints.md``, one after the other, with the four files' names in it."""
    text = (PROJECT / "book" / "checkpoints.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, file in (("saf", "sgraf_saf.pth.tar"), ("sgr", "scan_t2i_lse.pth.tar")):
        Path(name).mkdir()
        shutil.copy(FILES / file, f"{name}/model_best.pth.tar")
    for name in ("f30k_precomp", "coco_precomp"):
        shutil.copytree(DATASET, Path("data", name))
        for part in ("ims.npy", "caps.txt"):
            shutil.copy(DATASET / f"test_{part}", f"data/{name}/testall_{part}")
    shutil.copy(DATASET / "vocab.json", "f30k_precomp_vocab.json")
    blocks = re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL)
    lines = [line for kind, block in blocks if kind == "bash" for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("itm ")]
    assert len(commands) == 9
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command
    made: dict[str, Any] = {}
    (code,) = (block for kind, block in blocks if kind == "python")
    exec(code, made)
    theirs = np.load(FILES / "sgraf_saf_scores.npy")
    assert made["record"].score == pytest.approx(theirs[3, 17], abs=2e-5)
    np.testing.assert_allclose(made["scored"].scores, theirs, atol=2e-5)
