"""Training: the sparse gradient, the schedule, and resuming bit for bit."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.weights import save_matcher
from itm_core.files import sha256
from itm_core.models import Matcher
from itm_core.models.pairing import AllPairs
from itm_core.training.batches import Pairs, batches
from itm_core.training.gradients import loss_and_gradient
from itm_core.training.losses import LossSettings, hinge
from itm_core.training.optimisation import learning_rate
from itm_core.training.trainer import Trainer
from tests.rights import closed

RECIPE = recipes.get("scan-t2i-mean").replace(
    "encoder.embedding=8",
    "encoder.word_width=6",
    "training.epochs=3",
    "training.batch=8",
    "training.learning_rate=0.01",
    "training.lr_decay_epochs=2",
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are the same to the bit in every process only if as many threads make them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def some_pairs() -> Pairs:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(10, 4, 5)).astype(np.float32)
    captions = [[1, *draw.integers(3, 20, draw.integers(1, 6)), 2] for _ in range(50)]
    return Pairs(features, captions, np.repeat(np.arange(10), 5), mask=20, vocabulary=20)


def trainer(folder: Path, recipe: recipes.Recipe = RECIPE) -> Trainer:
    torch.manual_seed(0)
    return Trainer(
        recipe.build(5, 21, 4),
        some_pairs(),
        recipe,
        seed=0,
        folder=folder,
        save=save_matcher,
        score_dev=lambda matcher: {"rsum": float(next(matcher.parameters()).sum().detach())},
        progress=False,
    )


def weights(matcher: Matcher) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in matcher.state_dict().items()}


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("hardest", [True, False])
def test_the_sparse_gradient_is_the_full_one(direction: str, hardest: bool) -> None:
    torch.manual_seed(1)
    matcher = recipes.get(f"scan-{direction}-mean").build(5, 20)
    lens = torch.randint(2, 7, (24,))
    V = l2norm(torch.randn(24, 4, 16, dtype=torch.float64)).requires_grad_()
    W = l2norm(torch.randn(24, 6, 16, dtype=torch.float64)).requires_grad_()
    settings = LossSettings(margin=0.2)
    loss = loss_and_gradient(
        matcher, Fragments.of(V), Fragments.of(W, lens), settings, hardest=hardest
    )
    sparse = V.grad.clone(), W.grad.clone()
    V.grad = W.grad = None
    pairing = AllPairs(Fragments.of(V), Fragments.of(W, lens))
    full = hinge(matcher(pairing).T.float(), 0.2, hardest=hardest)
    full.backward()
    assert loss == pytest.approx(full.item(), rel=1e-6)
    torch.testing.assert_close(sparse, (V.grad, W.grad), rtol=1e-5, atol=1e-7)


def test_every_epoch_sees_every_caption_once_in_another_order() -> None:
    first, second = (batches(some_pairs(), RECIPE.training, 0, epoch) for epoch in (0, 1))
    assert sorted(np.concatenate(first)) == list(range(50))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()
    other_seed = batches(some_pairs(), RECIPE.training, 1, 0)
    assert np.concatenate(first).tolist() != np.concatenate(other_seed).tolist()
    assert (
        np.concatenate(batches(some_pairs(), RECIPE.training, 0, 1)).tolist()
        == np.concatenate(second).tolist()
    )


def test_a_batch_without_negatives_is_left_out() -> None:
    sevens = RECIPE.replace("training.batch=7").training
    assert [len(batch) for batch in batches(some_pairs(), sevens, 0, 0)] == [7] * 7


def test_a_training_without_a_batch_is_refused_before_it_starts(tmp_path: Path) -> None:
    pairs = some_pairs()
    one = Pairs(pairs.features, pairs.captions[:1], pairs.image_of[:1], mask=20, vocabulary=20)
    with pytest.raises(InputError, match=r"nothing to train on.*1 pair\(s\)"):
        Trainer(
            RECIPE.build(5, 21, 4),
            one,
            RECIPE,
            seed=0,
            folder=tmp_path,
            save=save_matcher,
            score_dev=lambda matcher: {},
            progress=False,
        )


def test_the_last_smaller_batch_can_be_dropped() -> None:
    kept, dropped = (
        RECIPE.replace("training.batch=8", f"training.drop_last={drop}").training
        for drop in ("false", "true")
    )
    assert [len(b) for b in batches(some_pairs(), kept, 0, 0)] == [8] * 6 + [2]
    assert [len(b) for b in batches(some_pairs(), dropped, 0, 0)] == [8] * 6


def test_dropping_words_and_regions_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    recipe = RECIPE.replace(
        "training.token_dropout=0.3",
        "training.region_dropout=0.3",
        "training.optimiser=adamw",
        "training.weight_decay=0.01",
        "regulator.kind=rcar",
        "regulator.width=4",
        "encoder.word_dropout=0.4",
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    straight = trainer(whole, recipe)
    straight.run()
    first = trainer(cut, recipe)
    step, steps = first._step, 0

    def counted(batch: np.ndarray) -> None:
        nonlocal steps
        steps += 1
        step(batch)
        if steps == 10:
            first.stop.set()

    first._step = counted
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = trainer(cut, recipe)
    torch.manual_seed(99)
    second.run()
    for name, value in weights(straight.matcher).items():
        assert torch.equal(value, weights(second.matcher)[name]), name


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    """Dropping the last batch would leave nothing to train on."""
    dropped = RECIPE.replace("training.batch=64", "training.drop_last=true").training
    assert [len(b) for b in batches(some_pairs(), dropped, 0, 0)] == [50]


def test_the_rate_drops_by_ten_at_each_step() -> None:
    rates = [learning_rate(RECIPE.training, epoch) for epoch in range(5)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])


def test_warm_up_uses_all_negatives(tmp_path: Path) -> None:
    warm = trainer(tmp_path, RECIPE.replace("loss.warmup_epochs=1", "training.epochs=1"))
    cold = trainer(tmp_path / "cold", RECIPE.replace("loss.warmup_epochs=0", "training.epochs=1"))
    (tmp_path / "cold").mkdir()
    assert warm.run().curve[0]["loss"] > cold.run().curve[0]["loss"]


@pytest.mark.parametrize("averaging", [0.0, 0.5])
@pytest.mark.parametrize("stop_after", [1, 5, 9, 17])
def test_a_stopped_run_ends_with_the_same_bits(
    tmp_path: Path, stop_after: int, averaging: float
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    recipe = RECIPE.replace(f"training.averaging={averaging}")
    straight = trainer(whole, recipe)
    straight.run()
    first = trainer(cut, recipe)
    steps = 0
    step = first._step

    def counted(batch: np.ndarray) -> None:
        nonlocal steps
        steps += 1
        step(batch)
        if steps == stop_after:
            first.stop.set()

    first._step = counted
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = trainer(cut, recipe)
    torch.manual_seed(99)  # the state of the generator comes from the checkpoint
    finished = second.run()
    for name, value in weights(straight.matcher).items():
        assert torch.equal(value, weights(second.matcher)[name]), name
        assert torch.equal(weights(straight.evaluated)[name], weights(second.evaluated)[name])
    assert [row["loss"] for row in finished.curve] == [row["loss"] for row in straight.state.curve]
    assert (whole / "best.safetensors").read_bytes() == (cut / "best.safetensors").read_bytes()


def test_an_interrupt_while_the_development_split_is_scored_ends_at_once(tmp_path: Path) -> None:
    """The last steps are kept: the split is scored again when the training is resumed."""
    whole = trainer(tmp_path / "whole")
    whole.run()
    first, steps = trainer(tmp_path / "parts"), []

    def interrupted(matcher: Matcher) -> dict[str, float]:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("goes on")

    first.score_dev = interrupted
    with pytest.raises(KeyboardInterrupt, match="the state is kept"):
        first.run()
    second = trainer(tmp_path / "parts")
    step = second._step
    second._step = lambda batch: (steps.append(1), step(batch))
    second.run()
    assert len(steps) == 2 * second.steps  # of three epochs
    expected = weights(whole.matcher)
    assert all(torch.equal(w, expected[name]) for name, w in weights(second.matcher).items())


SCRIPT = """
import sys, pathlib, torch
torch.set_num_threads(1)
from tests.itm_core.training import test_trainer
from itm_core.training import trainer
trainer.CHECKPOINT_SECONDS = 0.0
t = test_trainer.trainer(pathlib.Path(sys.argv[1]))
step = t._step
def slow(batch):
    import time; time.sleep(0.05); step(batch); print("step", flush=True)
t._step = slow
t.run()
"""


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    straight = trainer(whole)
    straight.run()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(cut)], stdout=subprocess.PIPE
    ) as process:
        for _ in range(6):
            assert process.stdout is not None
            assert process.stdout.readline() == b"step\n"
        process.send_signal(signal.SIGKILL)
    second = trainer(cut)
    second.run()
    for name, value in weights(straight.matcher).items():
        assert torch.equal(value, weights(second.matcher)[name]), name


def test_double_precision_reaches_every_weight_and_the_loss(tmp_path: Path) -> None:
    """Over one epoch: later rounding, however small, chooses other hardest negatives."""
    once = RECIPE.replace("training.epochs=1")
    single = trainer(tmp_path, once)
    (tmp_path / "double").mkdir()
    double = trainer(tmp_path / "double", once.replace("training.precision=float64"))
    losses = [one.run().curve[0]["loss"] for one in (single, double)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] != losses[1]
    assert {value.dtype for value in weights(double.matcher).values()} == {torch.float64}
    assert {value.dtype for value in weights(single.matcher).values()} == {torch.float32}


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_on_a_gpu_lowers_the_loss(tmp_path: Path, precision: str) -> None:
    recipe = RECIPE.replace(f"training.precision={precision}", "loss.warmup_epochs=3")
    torch.manual_seed(0)
    trainer = Trainer(
        recipe.build(5, 21, 4).cuda(),
        some_pairs(),
        recipe,
        seed=0,
        folder=tmp_path,
        save=save_matcher,
        score_dev=lambda _: {"rsum": 0.0},
        progress=False,
    )
    curve = trainer.run().curve
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"half a checkpoint")
    with pytest.raises(InputError, match=r"state\.pt.*remove state\.pt.*is lost"):
        trainer(tmp_path).run()
    with closed(tmp_path / "state.pt"), pytest.raises(InputError, match="state.pt: may not"):
        trainer(tmp_path)._load_checkpoint()


def test_a_checkpoint_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.checkpoint()
    path = tmp_path / "state.pt"
    with zipfile.ZipFile(path) as archive:
        part = max(archive.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    content[part.header_offset + part.file_size // 2 + 64] ^= 1  # within a weight
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"state\.pt.*is not as it was written.*remove state\.pt"):
        trainer(tmp_path).run()


def test_weights_of_the_best_epoch_that_were_changed_are_refused(tmp_path: Path) -> None:
    trained = trainer(tmp_path)
    trained.run()
    assert trained.state.best_file == sha256(tmp_path / "best.safetensors")
    trainer(tmp_path).run()  # nothing is left to do
    content = bytearray((tmp_path / "best.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "best.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"best\.safetensors: the weights of the best epoch are"):
        trainer(tmp_path).run()


def test_a_loss_that_overflows_stops_the_run(tmp_path: Path) -> None:
    bad = trainer(tmp_path)
    bad.batches.pairs.features[:] = np.inf
    with pytest.raises(InputError, match="no longer a finite number"):
        bad.run()


def test_time_is_counted_once(tmp_path: Path) -> None:
    started = time.monotonic()
    curve = trainer(tmp_path).run().curve
    assert 0 < sum(row["seconds"] for row in curve) <= time.monotonic() - started
