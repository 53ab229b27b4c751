"""A padded image is the image: of every method the same score, and the same step of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from itm_core.data.ragged import RaggedRegions
from itm_core.encoders.fragments import Fragments
from itm_core.encoders.positions import block_positions
from itm_core.encoders.region_blocks import REGION_BLOCKS
from itm_core.evaluation.scoring import encode_regions
from itm_core.experiments import recipes
from itm_core.experiments.methods import METHODS
from itm_core.experiments.recipes import Recipe
from itm_core.models import Matcher
from itm_core.models.pairing import AllPairs, Candidates, Matched
from itm_core.models.similarity_nodes import CaptionNorm
from itm_core.training.gradients import Batch, gradient_step
from itm_core.training.losses import ranking_loss

REGIONS, FEATURES, WORDS = 7, 7, 20
SMALL = {
    "encoder": {"embedding": 8, "word_width": 6, "mask_regions": True},
    "regulator": {"width": 4, "dropout": 0.0},
}
PLUGGED = [
    "scan-t2i-mean+rcr",
    "scan-i2t-mean+rar",
    "bfan-equal+rcar",
    "sgr+rcr",
    "scan-t2i-mean+ccr",
    "scan-i2t-mean+ccs",
    "bfan-prob+ccr+ccs",
    "pfan-t2i+rar",
]
NAMES = [*METHODS, *PLUGGED]


def recipe_of(name: str) -> Recipe:
    """As published on Flickr30K, with every block of the encoders, but small."""
    recipe = recipes.get(f"{name}-f30k").changed(SMALL)
    if recipe.encoder.text_encoder == "bert":
        recipe = recipe.changed({"encoder": {"text_encoder": "gru"}})
    if isinstance(getattr(recipe.matcher, "width", None), int):
        recipe = recipe.changed({"matcher": {"width": 4}})
    return recipe


def features_of(recipe: Recipe, lens: list[int], seed: int = 0) -> np.ndarray:
    """Regions ``[I, R, F]``, random values in the padding too; with positions for PFAN."""
    draw = np.random.default_rng(seed)
    plain = draw.normal(size=(len(lens), REGIONS, FEATURES)).astype(np.float32)
    if recipe.encoder.positions == "none":
        return plain
    corners = np.sort(draw.uniform(0, 100, (len(lens), REGIONS, 2, 2)), axis=2)
    sizes = np.full(len(lens), 100.0)
    positions = block_positions(corners.reshape(len(lens), REGIONS, 4), sizes, sizes)
    return np.concatenate([plain, positions], -1)


def matcher_of(recipe: Recipe) -> Matcher:
    """A matcher in float64 whose norms have seen something, as after training."""
    torch.manual_seed(1)
    width = features_of(recipe, [1]).shape[2]
    matcher = recipe.build(width, WORDS, REGIONS).double()
    for part in matcher.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.weight)
    return matcher.eval()


def words_of(matcher: Matcher) -> Fragments:
    tokens = torch.randint(3, WORDS, (4, 6), generator=torch.Generator().manual_seed(2))
    return matcher.words(tokens, torch.tensor([6, 3, 5, 4]))


LENS = [7, 3, 1, 5]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_padded_image_scores_as_the_same_image_alone(name: str) -> None:
    recipe = recipe_of(name).changed({"encoder": {"mask_regions": False}})  # of dropped regions
    matcher, values = matcher_of(recipe), features_of(recipe, LENS)
    words = words_of(matcher)
    padded = encode_regions(matcher, RaggedRegions(values, np.array(LENS)))
    scores = matcher(AllPairs(padded, words))
    alone = [
        matcher(AllPairs(matcher.regions(torch.from_numpy(values[k : k + 1, :n])), words))
        for k, n in enumerate(LENS)
    ]
    torch.testing.assert_close(scores, torch.cat(alone, 1), atol=1e-10, rtol=0)
    matched = matcher.explain(padded, words)
    torch.testing.assert_close(matched.score[:, 0], scores.diagonal(), atol=1e-10, rtol=0)
    torch.testing.assert_close(matched.total()[:, 0], scores.diagonal(), atol=1e-9, rtol=0)
    shortlist = torch.arange(4).expand(4, -1)
    fine = matcher(Candidates(padded, words, shortlist))
    torch.testing.assert_close(fine, scores, atol=1e-10, rtol=0)
    for attention in matcher.attend(Matched(padded, words)):
        beyond = ~padded.mask[:, None, None] & torch.ones_like(attention.weights, dtype=torch.bool)
        if attention.key_axis == 3:
            assert not attention.weights[beyond].any()


def step(recipe: Recipe, values: Tensor, lens: Tensor | None) -> tuple[float, dict[str, Tensor]]:
    """The loss of a batch, its gradient, and the running statistics after it."""
    matcher = matcher_of(recipe).train()
    for part in matcher.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    tokens = torch.randint(3, WORDS, (len(values), 5), generator=torch.Generator().manual_seed(3))
    batch = Batch(
        values, tokens, torch.tensor([5, 4, 3, 3][: len(values)]), torch.arange(len(values)), lens
    )
    value = gradient_step(
        matcher,
        batch,
        recipe.loss,
        hardest=True,
        constraints=recipe.constraints,
        generator=torch.Generator().manual_seed(4),
    )
    found = {n: p.grad for n, p in matcher.named_parameters() if p.grad is not None}
    found |= {n: b for n, b in matcher.named_buffers() if b.is_floating_point()}
    return value, found


@pytest.mark.parametrize("name", NAMES)
def test_a_step_on_padded_images_is_that_of_the_images_alone(name: str) -> None:
    """Where all have three regions, the oracle needs no mask: a plain batch of ``[n, 3, F]``."""
    recipe = recipe_of(name)
    values, lens = torch.from_numpy(features_of(recipe, LENS)), torch.tensor([3, 3, 3, 3])
    loss, gradients = step(recipe, values, lens)
    plain_loss, plain = step(recipe, values[:, :3], None)
    assert loss == pytest.approx(plain_loss, abs=1e-10)
    assert gradients.keys() == plain.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[key], atol=1e-9, rtol=1e-9)


def has_batch_statistics(name: str) -> bool:
    norms = (nn.BatchNorm1d, CaptionNorm)
    return any(isinstance(part, norms) for part in matcher_of(recipe_of(name)).modules())


@pytest.mark.parametrize(
    "name", [n for n in NAMES if not has_batch_statistics(n) and "+cc" not in n]
)
def test_a_step_on_different_numbers_is_that_of_a_loop_over_images(name: str) -> None:
    recipe = recipe_of(name)
    values = torch.from_numpy(features_of(recipe, LENS))
    loss, gradients = step(recipe, values, torch.tensor(LENS))
    matcher = matcher_of(recipe).train()
    tokens = torch.randint(3, WORDS, (4, 5), generator=torch.Generator().manual_seed(3))
    words = matcher.words(tokens, torch.tensor([5, 4, 3, 3]))
    columns = [
        matcher(AllPairs(matcher.regions(values[k : k + 1, :n]), words)) for k, n in enumerate(LENS)
    ]
    expected = ranking_loss(torch.cat(columns, 1).T, recipe.loss, hardest=True)
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-10)
    for key, parameter in matcher.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[key], parameter.grad, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_step_depends_on_the_padding(name: str) -> None:
    recipe, lens = recipe_of(name), torch.tensor(LENS)
    values = torch.from_numpy(features_of(recipe, LENS))
    other = values.clone()
    for k, n in enumerate(LENS):
        other[k, n:] = torch.from_numpy(features_of(recipe, LENS, seed=9)[k, n:])
    (loss, gradients), (other_loss, others) = step(recipe, values, lens), step(recipe, other, lens)
    assert loss == pytest.approx(other_loss, abs=1e-10)
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[key], atol=1e-9, rtol=1e-9)


FAST = ["scan-t2i-LSE", "scan-i2t-LSE", "bfan-prob", "saf", "vse-gpo", "chan", "rcar-t2i"]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([name for name in FAST if name in METHODS]),
    st.sampled_from(list(REGION_BLOCKS)),
    st.lists(st.integers(1, REGIONS), min_size=1, max_size=4),
    st.integers(0, 1000),
)
@torch.no_grad()
def test_the_content_of_padding_never_matters(
    name: str, block: str, lens: list[int], seed: int
) -> None:
    recipe = recipe_of(name).changed({"encoder": {"region_encoder": block}})
    matcher = matcher_of(recipe)
    words = words_of(matcher)
    values = features_of(recipe, lens)
    other = values.copy()
    for k, n in enumerate(lens):
        other[k, n:] = np.random.default_rng(seed).normal(0, 10, other[k, n:].shape)
    zeroed = values * (np.arange(REGIONS) < np.array(lens)[:, None])[..., None]
    counts = torch.tensor(lens)
    first, second = (
        matcher(AllPairs(matcher.regions(torch.from_numpy(x), counts, masked=True), words))
        for x in (zeroed, other)
    )
    assert first.isfinite().all()
    torch.testing.assert_close(first, second, atol=1e-10, rtol=0)
