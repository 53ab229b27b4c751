"""The run store: whole runs, cut-off runs, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from itm_book.pairs import word_maps
from itm_core.data.dataset import load_dataset, load_split
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import recipes, run_folder, runs
from itm_core.experiments.evaluate import dev_scorer
from itm_core.experiments.prepare import encode, prepare
from itm_core.experiments.runs import Spec
from tests.micro import SMALL, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "micro")


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    root = tmp_path_factory.mktemp("runs")
    return train(dataset, root)


def train(dataset: Path, root: Path, recipe: str = "scan-t2i-mean", **more: object) -> runs.Run:
    return runs.train_or_load(
        dataset, recipe, root=root, overrides=SMALL, device="cpu", progress=False, **more
    )


def test_a_run_records_what_made_it(run: runs.Run, dataset: Path) -> None:
    assert run.folder.parts[-3:-1] == ("micro", "scan-t2i-mean")
    assert run.folder.name.startswith("0-")
    assert run.recipe == recipes.get("scan-t2i-mean").replace(*SMALL)
    assert run.config["fingerprint"] == load_dataset(dataset).fingerprint
    assert {"packages", "device", "threads", "seconds_training"} <= set(run.environment)
    assert list(run.curve["epoch"]) == [1, 2]
    assert run.scores.shape == (12, 60)


def test_metrics_are_those_of_the_kept_scores_and_weights(run: runs.Run, dataset: Path) -> None:
    assert run.metrics["rsum"] == retrieval.metrics(run.scores).rsum
    test = load_split(dataset, "test")
    again = score_matrix(run.matcher(), test.regions, encode(test, run.vocabulary))
    np.testing.assert_allclose(again, run.scores, atol=1e-6)


def test_what_is_averaged_is_what_is_kept_and_scored(
    run: runs.Run, dataset: Path, tmp_path: Path
) -> None:
    averaged = runs.train_or_load(
        dataset,
        "scan-t2i-mean",
        root=tmp_path,
        overrides=(*SMALL, "training.averaging=0.9"),  # both epochs end with an average
        device="cpu",
        progress=False,
    )
    assert averaged.folder.name != run.folder.name
    plain = load_file(run.folder / "last.safetensors")
    for name, value in load_file(averaged.folder / "last.safetensors").items():
        assert not torch.equal(value, plain[name])
    test = load_split(dataset, "test")
    again = score_matrix(averaged.matcher(), test.regions, encode(test, averaged.vocabulary))
    np.testing.assert_allclose(again, averaged.scores, atol=1e-6)


def test_settings_added_with_their_defaults_leave_the_names_of_runs(run: runs.Run) -> None:
    before = json.loads(json.dumps(run.config))
    del before["recipe"]["training"]["averaging"], before["recipe"]["training"]["train_images"]
    assert runs.folder_of(before, run.folder.parents[2]) == run.folder


def test_double_precision_needs_no_gpu(dataset: Path, tmp_path: Path) -> None:
    made = runs.train_or_load(
        dataset,
        "scan-t2i-mean",
        root=tmp_path,
        overrides=(*SMALL, "training.precision=float64"),
        device="cpu",
        progress=False,
    )
    weights = made.matcher().state_dict().values()
    assert {value.dtype for value in weights} == {torch.float64}
    assert made.scores.dtype == np.float32


def test_a_finished_run_is_loaded_not_trained(
    run: runs.Run, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_train", lambda *_: pytest.fail("trained again"))
    assert train(dataset, run.folder.parents[2]).folder == run.folder
    assert [r.folder for r in runs.all_runs(run.folder.parents[2])] == [run.folder]


def test_anything_that_matters_makes_another_folder(run: runs.Run, dataset: Path) -> None:
    data = load_dataset(dataset)
    config = runs.configuration(data, run.recipe, 0)
    folders = {
        runs.folder_of(config),
        runs.folder_of(runs.configuration(data, run.recipe, 1)),
        runs.folder_of(runs.configuration(data, run.recipe.replace("loss.margin=0.1"), 0)),
        runs.folder_of(config | {"fingerprint": "other data"}),
    }
    assert len(folders) == 4


def test_a_run_without_its_last_file_is_not_whole(
    run: runs.Run, dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder.parents[2], copy)
    cut = next(copy.glob("*/*/*/metrics.json"))
    cut.unlink()
    assert runs.all_runs(copy) == []
    with pytest.raises(InputError, match="interrupted"):
        runs.load(cut.parent)
    again = train(dataset, copy)
    for name, weight in run.matcher().state_dict().items():
        assert torch.equal(weight, again.matcher().state_dict()[name])


def test_a_finished_run_keeps_no_error_of_an_earlier_attempt(
    run: runs.Run, dataset: Path, tmp_path: Path
) -> None:
    failed = tmp_path.joinpath(*run.folder.parts[-3:], run_folder.ERROR)
    failed.parent.mkdir(parents=True)
    failed.write_text("MemoryError")
    assert train(dataset, tmp_path).folder == failed.parent
    assert not failed.exists()


def test_two_processes_cannot_train_one_run(run: runs.Run, dataset: Path, tmp_path: Path) -> None:
    config = json.loads((run.folder / "config.json").read_text())
    folder = runs.folder_of(config, tmp_path)
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(InputError, match="another process"):
        train(dataset, tmp_path)


def test_a_damaged_checkpoint_is_named(run: runs.Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    (copy / "best.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match=r"best\.safetensors.*train the run again"):
        runs.load(copy).matcher()


@pytest.mark.parametrize("recipe", ["scan-t2i-mean", "scan-i2t-LSE"])
def test_an_explanation_adds_up_to_the_kept_score(
    recipe: str, dataset: Path, tmp_path: Path
) -> None:
    trained = train(dataset, tmp_path, recipe)
    test = load_split(dataset, "test")
    for image, caption in ((0, 3), (5, 0)):
        maps = word_maps.explain(trained, test, image, caption)
        assert maps.score == pytest.approx(trained.scores[image, caption], abs=1e-6)
        assert maps.contribution.sum() + maps.remainder == pytest.approx(maps.score, abs=1e-6)
        assert maps.weights.shape == (len(maps.words), 4)
        if maps.direction == "t2i":
            np.testing.assert_allclose(maps.weights.sum(1), 1, rtol=1e-5)


def test_two_names_of_one_run_are_trained_once(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Spec] = []

    def trained(function: object, specs: list[Spec], **options: object) -> list[None]:
        asked.extend(specs)
        return []

    monkeypatch.setattr(runs, "run_parallel", trained)
    monkeypatch.setattr(runs, "load_trained", lambda folder: folder)
    default = recipes.get("saf").matcher.width
    specs = [
        Spec("saf+ccr+rcr", 0, SMALL),
        Spec("saf+rcr+ccr", 0, SMALL),
        Spec("saf+rcr+ccr", 0, (*SMALL, f"matcher.width={default}")),
        Spec("saf+rcr+ccr", 1, SMALL),
    ]
    folders = runs.train_many(dataset, specs, root=tmp_path, device="cpu", progress=False)
    assert len(folders) == 4
    assert len({*folders}) == len(asked) == 2
    with pytest.raises(InputError, match="dataset"):
        runs.train_many(load_dataset(dataset), specs, root=tmp_path)  # type: ignore[arg-type]


def test_many_runs_side_by_side_equal_single_ones(
    run: runs.Run, dataset: Path, tmp_path: Path
) -> None:
    specs = [Spec("scan-t2i-mean", seed, SMALL) for seed in (0, 1)]
    made = runs.train_many(dataset, specs, workers=2, root=tmp_path, device="cpu", progress=False)
    assert [r.seed for r in made] == [0, 1]
    # each with its share of the threads: sums are rounded otherwise, and training carries it on
    np.testing.assert_allclose(made[0].scores, run.scores, atol=1e-4)
    assert made[0].metrics["rsum"] != made[1].metrics["rsum"]


def test_the_threads_of_a_run_do_not_depend_on_what_else_is_missing(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that is resumed alone has the threads with which it began."""
    monkeypatch.setattr(runs, "cores", lambda: 4)
    shares = []

    def stands_in(*_: object, threads: int, **__: object) -> list[Path]:
        shares.append(threads)
        raise InputError("begun")

    monkeypatch.setattr(runs, "run_parallel", stands_in)
    specs = [Spec("scan-t2i-mean", seed, SMALL) for seed in (0, 1)]
    for missing in (specs, specs[:1]):
        with pytest.raises(InputError, match="begun"):
            runs.train_many(dataset, missing, workers=2, root=tmp_path, device="cpu")
    assert shares == [2, 2]


def test_a_failing_run_does_not_stop_the_others(dataset: Path, tmp_path: Path) -> None:
    specs = [Spec("scan-t2i-mean", seed, SMALL) for seed in (0, 1)]
    data, recipe = load_dataset(dataset), recipes.get("scan-t2i-mean").replace(*SMALL)
    held = runs.folder_of(runs.configuration(data, recipe, 0), tmp_path)
    held.mkdir(parents=True)
    with FileLock(held / ".lock"), pytest.raises(InputError, match="another process"):
        runs.train_many(dataset, specs, workers=1, root=tmp_path, device="cpu", progress=False)
    assert [r.seed for r in runs.all_runs(tmp_path)] == [1]


def test_runs_that_are_there_start_no_process(
    run: runs.Run, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "run_parallel", None)
    specs = [Spec("scan-t2i-mean", 0, SMALL)] * 2
    root = run.folder.parents[2]
    made = runs.train_many(dataset, specs, root=root, device="cpu", progress=False)
    assert [one.folder for one in made] == [run.folder] * 2
    with pytest.raises(InputError, match="epochs"):  # before anything is begun
        runs.train_many(dataset, [Spec("scan-t2i-mean", 0, ("training.epochs=0",))], root=root)


def test_a_device_that_is_not_there_is_refused_before_training(
    dataset: Path, tmp_path: Path
) -> None:
    for device, message in (("cuda:99", "no such device"), ("tpu", "unknown device")):
        with pytest.raises(InputError, match=message):
            runs.train_or_load(dataset, "scan-t2i-mean", root=tmp_path, device=device)
    with pytest.raises(InputError, match="mixed precision"):
        runs.train_or_load(
            dataset,
            "scan-t2i-mean",
            root=tmp_path,
            device="cpu",
            overrides=["training.precision=bfloat16"],
        )
    assert not list(tmp_path.iterdir())


def test_a_seed_from_papermill_is_the_same_run(
    run: runs.Run, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_train", lambda *_: pytest.fail("trained again"))
    root = run.folder.parents[2]
    assert train(dataset, root, seed="0").folder == run.folder
    assert Spec("scan-t2i-mean", "0", list(SMALL)) == Spec("scan-t2i-mean", 0, SMALL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *(({"seed": seed}, "not a seed") for seed in (None, 1.0, -1, 1e20, 2**32, True, "1.0")),
        ({"recipe": 3}, "recipe has the wrong type"),
        ({"recipe": None}, "recipe has the wrong type"),
        ({"overrides": "training.epochs=1"}, "overrides must be a list of texts"),
        ({"overrides": [1]}, "overrides must be a list of texts"),
        ({"device": 0}, "device has the wrong type"),
        ({"root": 3}, "root has the wrong type"),
        ({"progress": "False"}, "progress has the wrong type"),
        ({"dataset": None}, "dataset has the wrong type"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_folder_is_made(
    wrong: dict[str, object], message: str, dataset: Path, tmp_path: Path
) -> None:
    right = {"dataset": dataset, "recipe": "scan-t2i-mean", "overrides": SMALL, "device": "cpu"}
    given: dict[str, Any] = {"root": tmp_path / "runs", "progress": False, **right, **wrong}
    with pytest.raises(InputError, match=message):
        runs.train_or_load(given.pop("dataset"), given.pop("recipe"), **given)
    assert not list(tmp_path.iterdir())


def test_a_training_without_a_batch_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "micro", captions=1)
    with pytest.raises(InputError, match=r"nothing to train on; found 1 pair\(s\)"):
        runs.train_or_load(
            data,
            "scan-t2i-mean-smoke",
            overrides=(*SMALL, "training.train_images=1"),
            root=tmp_path / "runs",
            progress=False,
        )
    assert not (tmp_path / "runs").exists()


def test_many_runs_with_a_wrong_one_are_not_begun(dataset: Path, tmp_path: Path) -> None:
    for wrong in (("scan-t2i-mean", -1), ("scan-t2i-mean", 0, "training.epochs=1"), (3,)):
        with pytest.raises(InputError):
            Spec(*wrong)  # type: ignore[arg-type]
    specs = [Spec("scan-t2i-mean", 0, SMALL)]
    for wrong, message in (
        ({"workers": 0}, "workers"),
        ({"root": 1}, "root"),
        ({"progress": 1}, "pro"),
    ):
        with pytest.raises(InputError, match=message):
            runs.train_many(dataset, specs, **({"root": tmp_path} | wrong))
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_is_named(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a folder"):
        train(dataset, tmp_path / "file")


def test_every_file_of_a_run_can_be_read_by_others(run: runs.Run) -> None:
    (run.folder / "another").touch()
    mode = (run.folder / "another").stat().st_mode
    (run.folder / "another").unlink()
    assert {path.stat().st_mode for path in run.folder.glob("[!.]*")} == {mode}


@pytest.mark.parametrize(("limit", "images"), [("4", 4), ("99", 12), ("none", 12)])
def test_the_best_epoch_is_chosen_on_the_first_development_images(
    dataset: Path, limit: str, images: int
) -> None:
    data = load_dataset(dataset)
    recipe = recipes.get("scan-t2i-mean").replace(*SMALL, f"training.dev_images={limit}")
    torch.manual_seed(0)
    matcher = recipe.build(11, len(data.vocabulary), 4).eval()
    captions = [data.vocabulary.encode(c) for c in data.dev.captions[: 5 * images]]
    scores = score_matrix(matcher, data.dev.regions[:images], captions)
    found = dev_scorer(prepare(data, recipe).dev, recipe.training.dev_images)(matcher)
    assert found == retrieval.metrics(scores).flat()


@pytest.mark.parametrize(("limit", "images"), [("4", 4), ("99", 12), ("none", 12)])
def test_the_first_training_images_are_trained_on(dataset: Path, limit: str, images: int) -> None:
    data = load_dataset(dataset)
    recipe = recipes.get("scan-t2i-mean").replace(*SMALL, f"training.train_images={limit}")
    pairs = prepare(data, recipe).training_pairs(recipe.training.train_images)
    assert (
        list(pairs.captions)
        == [data.vocabulary.encode(c) for c in data.train.captions][: 5 * images]
    )
    assert list(pairs.image_of) == [i for i in range(images) for _ in range(5)]
    assert len(data.vocabulary) == pairs.vocabulary


def test_a_run_on_fewer_images_equals_a_run_on_a_smaller_dataset(
    dataset: Path, run: runs.Run, tmp_path: Path
) -> None:
    limited = runs.train_or_load(
        dataset,
        "scan-t2i-mean",
        root=tmp_path / "limited",
        overrides=(*SMALL, "training.train_images=8"),
        progress=False,
    )
    small = tmp_path / "micro"
    shutil.copytree(dataset, small)
    load_dataset(dataset).vocabulary.save(small / "vocab.json")
    np.save(small / "train_ims.npy", np.load(dataset / "train_ims.npy")[:8])
    lines = (dataset / "train_caps.txt").read_text().splitlines(keepends=True)
    (small / "train_caps.txt").write_text("".join(lines[:40]))
    for extra in small.glob("train_*"):
        if extra.name not in ("train_ims.npy", "train_caps.txt"):
            extra.unlink()
    whole = train(small, tmp_path / "small")
    np.testing.assert_array_equal(limited.scores, whole.scores)
    assert not np.array_equal(limited.scores, run.scores)
    assert limited.folder.name != run.folder.name
