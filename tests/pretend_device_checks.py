"""Every kind of recipe on an accelerator that is not there: no operation mixes devices.

`tests.pretend` is the device. What is computed on it is the same as on the CPU.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from itm_book.bench.gpu_checks import checks
from itm_book.bench.training import GIB
from itm_book.search.search_curve import all_scores, exact_tops
from itm_book.search.two_stage import build_two_stage, encode_captions, open_two_stage
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.environment import describe, exact, has_float64, pick_device
from itm_core.errors import InputError
from itm_core.evaluation.scoring import pad, score_matrix
from itm_core.experiments import recipes
from itm_core.experiments.run import Run
from itm_core.experiments.runs import train_or_load
from itm_core.models import Attending, Matcher
from itm_core.training.optimisation import train_step
from tests import pretend, pretend_steps
from tests.micro import SMALL, write_dataset

# of a step of 30 pairs in double precision, at most: waits for the device, and megabytes alive
LIMITS = {
    "scan-t2i-mean": (5, 2.2),
    "scan-i2t-LSE": (5, 2.2),
    "bfan-prob": (5, 3.0),
    "saf": (3, 37.0),
    "sgr": (5, 27.0),
    "imram-full": (5, 7.5),
    "chan": (5, 1.5),
    "rcr-t2i": (5, 30.0),
    "rar-i2t": (5, 12.0),
    "rcar-t2i": (5, 38.0),
    "scan-t2i-mean+rcar": (5, 32.0),
    "scan-t2i-mean+ccr+ccs": (20, 2.2),
    "bfan-equal+rcr": (5, 30.0),
    "vse-max": (5, 0.5),
    "vse-gpo": (7, 4.8),
    "vsrn": (5, 0.9),
}
QUICK = ("saf", "rcar-t2i", "scan-t2i-mean+ccr+ccs", "vse-gpo")  # the others are slow tests
CHANGES = (*SMALL[:2], "training.epochs=1", "training.batch=30", "loss.warmup_epochs=0")
# two orders of a sum differ by more where Adam divides a small gradient by its size
EXACT = (*CHANGES, "training.precision=float64")


@pytest.fixture(scope="module")
def device() -> torch.device:
    return pretend.device()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(write_dataset(tmp_path_factory.mktemp("data") / "micro"))


class Step(NamedTuple):
    """What a training step on the device did: waits for it, bytes alive, bytes of the weights."""

    waits: int
    peak: int
    weights: int


class Runs(NamedTuple):
    """A run of two steps on the device, the same one on the CPU, and what the steps did.

    ``left`` are the bytes that are still alive on the device after the training.
    """

    there: Run
    here: Run
    steps: list[Step]
    left: int


def observed(matcher: Matcher, *args: Any, **kwargs: Any) -> tuple[tuple[float, Tensor], Step]:
    """Return the result of a training step, and what it did."""
    pretend.waits.clear()
    pretend.memory.reset()
    result = train_step(matcher, *args, **kwargs)
    weights = sum(weight.nbytes for weight in matcher.parameters())
    return result, Step(pretend.waits.total(), pretend.memory.peak, weights)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(recipe, marks=() if recipe in QUICK else pytest.mark.slow) for recipe in LIMITS
    ],
)
def runs(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    device: torch.device,
    data: Dataset,
) -> Runs:
    steps: list[Step] = []
    before = pretend.memory.now

    def step(matcher: Matcher, *args: Any, **kwargs: Any) -> tuple[float, Tensor]:
        if next(matcher.parameters()).device.type == "cpu":
            return train_step(matcher, *args, **kwargs)
        result, seen = observed(matcher, *args, **kwargs)
        steps.append(seen)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("itm_core.training.trainer.train_step", step)
        there, here = [
            train_or_load(
                data,
                request.param,
                root=tmp_path_factory.mktemp(name),
                device=name,
                overrides=EXACT,
                progress=False,
            )
            for name in (device.type, "cpu")
        ]
    gc.collect()
    return Runs(there, here, steps, pretend.memory.now - before)


def test_two_steps_and_their_evaluation_are_those_of_the_cpu(runs: Runs) -> None:
    there, here = runs.there, runs.here
    assert there.environment["device"] == pretend.NAME
    assert there.curve["loss"].tolist() == pytest.approx(here.curve["loss"].tolist(), rel=1e-9)
    np.testing.assert_allclose(there.scores, here.scores, atol=1e-6)
    assert there.metrics["rsum"] == pytest.approx(here.metrics["rsum"])


def test_a_step_waits_and_takes_memory_as_listed(runs: Runs) -> None:
    waits, megabytes = LIMITS[runs.there.recipe.name]
    assert len(runs.steps) == 2
    for step in runs.steps:
        assert 1 <= step.waits <= waits
        assert 4 * step.weights < step.peak <= megabytes * 1e6  # gradients and both of Adam's means
    assert runs.left <= 0  # what a failed test kept may be freed in the meantime


def test_scores_and_explanations_are_those_of_the_cpu(
    runs: Runs, device: torch.device, data: Dataset
) -> None:
    run = runs.there
    captions = [run.vocabulary.encode(caption) for caption in data.test.captions]
    matcher, here = run.matcher(device.type), run.matcher()
    scores = score_matrix(matcher, data.test.features, captions)
    np.testing.assert_allclose(scores, score_matrix(here, data.test.features, captions), atol=1e-5)
    if isinstance(matcher, Attending):
        ids, lens = pad(captions[:3])
        features = torch.from_numpy(data.test.regions[:3].copy())
        with torch.no_grad():
            explained = [
                one.explain(one.regions(features.to(at)), one.words(ids.to(at), lens))
                for one, at in ((matcher, device), (here, torch.device("cpu")))
            ]
        there, expected = (output.total().cpu() for output in explained)
        torch.testing.assert_close(there, expected, atol=1e-5, rtol=1e-4)


def test_an_index_is_built_and_searched(
    runs: Runs, device: torch.device, data: Dataset, tmp_path: Path
) -> None:
    run = runs.there
    captions = [run.vocabulary.encode(caption) for caption in data.test.captions]
    matcher = run.matcher().float().to(device)  # an index stores float32
    build_two_stage(matcher, data.test.regions, captions, tmp_path / "g", kind="float32")
    search = open_two_stage(matcher, tmp_path / "g")
    words = encode_captions(matcher, captions[:4])
    found = search.search(words, candidates=12, top=5)
    assert found.images.shape == (4, 5)
    expected = all_scores(matcher, data.test.regions, words).T
    best = exact_tops(matcher, search.store.blocks(), words, [12], 12)[12]
    for scores in (found.scores, best.scores[:, :5]):
        np.testing.assert_allclose(scores, -np.sort(-expected)[:, :5], atol=1e-5)


def test_the_checks_of_a_gpu_pass(device: torch.device, data: Dataset, tmp_path: Path) -> None:
    """Those of `itm bench gpu`, at micro size: every one is a number within its limit."""
    found = list(checks(device.type, data, tmp_path, changes=(*SMALL, "training.epochs=1")))
    assert len(found) == 8
    assert [check.check for check in found if not check.met] == []
    assert found[0].measured < 1e-4


def test_a_step_at_published_width_is_measured(device: torch.device) -> None:
    found = pretend_steps.measure("vse-max-f30k", "hardest", 6)
    weights = sum(w.nbytes for w in recipes.get("vse-max-f30k").build(2048, 8482, 36).parameters())
    assert 3 * weights <= found["before"] * GIB  # with both of Adam's means
    assert found["peak"] * GIB >= 4 * weights  # and with the gradients
    assert found["waits"] == sum(int(part.split()[-1]) for part in found["waits_for"].split(", "))


@pytest.mark.parametrize(("kind", "loose"), [("float16", 0.05), ("auto", 1e-4)])
def test_features_that_are_kept_on_the_device_train_the_same(
    kind: str,
    loose: float,
    device: torch.device,
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The CPU, which keeps none, is the reference. (torch has no autocast for this device.)"""
    monkeypatch.setattr("itm_core.training.feature_cache.free_bytes", lambda _device: 2**30)
    there, here = (
        train_or_load(
            data,
            "scan-t2i-mean",
            device=name,
            root=tmp_path / name,
            overrides=(*CHANGES, f"training.feature_cache={cache}"),
            progress=False,
        )
        for name, cache in ((device.type, kind), ("cpu", "never"))
    )
    assert there.environment["device"] == pretend.NAME
    losses = [run.curve["loss"].tolist() for run in (there, here)]
    assert losses[0] == pytest.approx(losses[1], rel=loose)


def test_positions_are_trained_on_the_device(device: torch.device, tmp_path: Path) -> None:
    """PFAN, which embeds the blocks of the regions' boxes."""
    folder = write_dataset(tmp_path / "boxed")
    for split in ("train", "dev", "test"):
        corners = np.random.default_rng(0).uniform(0, 40, (12, 4, 2, 2)).cumsum(2)
        np.save(folder / f"{split}_boxes.npy", corners.reshape(12, 4, 4).astype(np.float32) + 1)
        np.save(folder / f"{split}_img_sizes.npy", np.full((12, 2), 100, np.int64))
    there, here = (
        train_or_load(
            load_dataset(folder),
            "pfan-t2i",
            root=tmp_path / at,
            device=at,
            progress=False,
            overrides=EXACT,
        )
        for at in (device.type, "cpu")
    )
    assert there.curve["loss"].tolist() == pytest.approx(here.curve["loss"].tolist(), rel=1e-9)
    np.testing.assert_allclose(there.scores, here.scores, atol=1e-6)


def test_an_operation_that_mixes_devices_is_noticed(device: torch.device) -> None:
    there = torch.ones(3).to(device)
    pretend.waits.clear()
    assert (there + 1).sum().item() == 6
    assert pretend.waits == {"_local_scalar_dense": 1}
    assert (there * torch.tensor(2.0)).device.type == pretend.NAME
    with pytest.raises(pretend.MixedDevicesError, match=r"add mixes pretend .*: \(3,\)"):
        there + torch.ones(3)
    with pytest.raises(pretend.MixedDevicesError, match="index"):
        there[torch.tensor([0, 1])]


def test_bytes_are_counted_once_and_as_long_as_they_are_alive(device: torch.device) -> None:
    before = pretend.memory.now
    there = torch.ones(10, 100).to(device)
    first = there[0]
    more = there + 1
    assert pretend.memory.now - before == 8000
    del there, more
    assert pretend.memory.now - before == 4000  # a row keeps all rows
    pretend.memory.reset()
    assert (first * first * first).sum().item() == 100
    assert 4400 < pretend.memory.peak - before <= 4808
    del first
    assert pretend.memory.now == before


def test_any_device_of_torch_is_taken(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pick_device(pretend.NAME) == device
    assert describe(device)["device"] == pretend.NAME
    with pytest.raises(InputError, match="no such device.*expected auto, cpu.*found pretend:1"):
        pick_device(f"{pretend.NAME}:1")
    there = {"cuda": 0, "mps": 1, "xpu": 2, "cpu": 1}
    monkeypatch.setattr("itm_core.environment.device_count", lambda kind: there[kind])
    assert pick_device() == torch.device("mps")
    assert pick_device("xpu:1") == torch.device("xpu:1")
    with pytest.raises(InputError, match="no such device.*expected auto, cpu, mps, xpu"):
        pick_device("cuda")


def test_float64_falls_back_to_the_cpu(
    device: torch.device, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert has_float64(device)
    assert exact(torch.ones(2).to(device)).device.type == pretend.NAME
    for place in ("itm_core.environment", "itm_core.experiments.runs"):
        monkeypatch.setattr(f"{place}.has_float64", lambda at: at.type == "cpu")
    assert exact(torch.ones(2).to(device)).device.type == "cpu"
    changes = {"overrides": EXACT, "root": tmp_path}
    with pytest.raises(InputError, match="no float64; found device pretend.*use device cpu"):
        train_or_load(data, "scan-t2i-mean", device=pretend.NAME, **changes)
    monkeypatch.setattr("itm_core.experiments.runs.pick_device", lambda _name: device)
    run = train_or_load(data, "scan-t2i-mean", device="auto", progress=False, **changes)
    assert run.environment["device"] == "cpu"
