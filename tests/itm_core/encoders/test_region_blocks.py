"""Region blocks against loops over images, heads and regions, and what may depend on what."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from itm_core.encoders.encoder import EncoderSettings, RegionEncoder
from itm_core.encoders.region_blocks import HEADS, REGION_BLOCKS, Mlp, make_block
from itm_core.errors import InputError

WIDTH, FEATURES = 16, 6
ATTENDING = ("self_attention", "transformer", "transformer_over_images")


def a_block(kind: str, seed: int = 0) -> nn.Module:
    """A block in float64 whose parameters are all random, those that start at 0 and 1 too."""
    torch.manual_seed(seed)
    block = make_block(kind, FEATURES, WIDTH)
    assert block is not None
    for parameter in block.parameters():
        nn.init.normal_(parameter, 0.1, 0.5)
    return block.double().eval()


def some_regions(images: int, regions: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    vectors = torch.randn(images, regions, WIDTH, generator=draw, dtype=torch.float64)
    return vectors, torch.randn(images, regions, FEATURES, generator=draw, dtype=torch.float64)


def plain_norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * layer.weight + (
        layer.bias
    )


def plain_attention(x: Tensor, layer: nn.MultiheadAttention) -> Tensor:
    """Each row of ``x [n, D]`` asks all rows, head by head."""
    ask, key, value = (x @ layer.in_proj_weight.T + layer.in_proj_bias).chunk(3, dim=1)
    size = WIDTH // HEADS
    found = torch.zeros_like(x)
    for n in range(len(x)):
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            logits = torch.stack([ask[n, part] @ k / math.sqrt(size) for k in key[:, part]])
            weights = logits.exp() / logits.exp().sum()
            found[n, part] = weights @ value[:, part]
    return found @ layer.out_proj.weight.T + layer.out_proj.bias


def plain_block(kind: str, block: nn.Module, x: Tensor) -> Tensor:
    """The block on one sequence ``[n, D]``."""
    if kind == "self_attention":
        return x + plain_attention(plain_norm(x, block.ln), block.attn)
    x = x + plain_attention(plain_norm(x, block.ln_1), block.attn)
    inner = plain_norm(x, block.ln_2) @ block.wide.weight.T + block.wide.bias
    inner = inner / (1 + (-1.702 * inner).exp())
    return x + inner @ block.narrow.weight.T + block.narrow.bias


@pytest.mark.parametrize("kind", ATTENDING)
def test_attention_equals_its_loop(kind: str) -> None:
    block, (vectors, features) = a_block(kind), some_regions(3, 4)
    if kind == "transformer_over_images":  # one sequence for each place: the images
        expected = torch.stack([plain_block(kind, block, vectors[:, r]) for r in range(4)], 1)
    else:
        expected = torch.stack([plain_block(kind, block, image) for image in vectors])
    torch.testing.assert_close(block(vectors, features, None), expected, rtol=0, atol=1e-10)
    with torch.no_grad():  # the library has another way there
        torch.testing.assert_close(block(vectors, features, None), expected, rtol=0, atol=1e-10)


@settings(max_examples=15, deadline=None)
@given(lens=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=st.integers(0, 99))
@pytest.mark.parametrize("kind", ["self_attention", "transformer"])
def test_with_a_mask_an_image_is_what_it_is_alone(kind: str, lens: list[int], seed: int) -> None:
    block, (vectors, features) = a_block(kind, seed), some_regions(len(lens), 5, seed)
    mask = torch.arange(5) < torch.tensor(lens)[:, None]
    together = block(vectors, features, mask)
    for row, size in enumerate(lens):
        alone = block(vectors[row : row + 1, :size], features[row : row + 1, :size], None)
        torch.testing.assert_close(together[row, :size], alone[0])


def test_without_a_mask_padding_moves_real_regions() -> None:
    block, (vectors, features) = a_block("self_attention"), some_regions(1, 5)
    vectors[:, 3:] = 0
    alone = block(vectors[:, :3], features[:, :3], None)
    assert (block(vectors, features, None)[:, :3] - alone).abs().max() > 1e-3


def test_as_released_the_transformer_looks_at_other_images_and_not_at_regions() -> None:
    block, (vectors, features) = a_block("transformer_over_images"), some_regions(2, 3)
    before = block(vectors, features, None)
    vectors[1, 2] = vectors[1, 2].flip(0)  # a constant would fall to the layer norm
    moved = (block(vectors, features, None) - before).abs().amax(2) > 1e-9
    assert moved.tolist() == [[False, False, True], [False, False, True]]


def test_the_corrected_transformer_looks_at_regions_of_its_own_image() -> None:
    block, (vectors, features) = a_block("transformer"), some_regions(2, 3)
    before = block(vectors, features, None)
    vectors[1, 2] = vectors[1, 2].flip(0)  # a constant would fall to the layer norm
    moved = (block(vectors, features, None) - before).abs().amax(2) > 1e-9
    assert moved.tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize("training", [True, False])
def test_mlp_equals_its_loop(training: bool) -> None:
    block, (vectors, features) = a_block("mlp").train(training), some_regions(3, 4)
    assert isinstance(block, Mlp)
    norm = block.bns[0]
    norm.running_mean.fill_(0.3)
    norm.running_var.fill_(2.0)
    first, second = block.layers
    hidden = [first.weight @ x + first.bias for x in features.flatten(0, 1)]
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    if training:
        mean = sum(hidden) / len(hidden)
        var = sum((h - mean) ** 2 for h in hidden) / len(hidden)
    rows = [
        v + second.weight @ (((h - mean) / (var + 1e-5).sqrt()) * norm.weight + norm.bias).clamp(0)
        for h, v in zip(hidden, vectors.flatten(0, 1), strict=True)
    ]
    expected = torch.stack(rows).view_as(vectors) + second.bias
    torch.testing.assert_close(block(vectors, features, None), expected, rtol=0, atol=1e-10)


def test_mlp_has_the_names_of_the_release_and_no_second_norm() -> None:
    layers = {f"layers.{k}.{part}" for k in (0, 1) for part in ("weight", "bias")}
    norm = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
    assert set(a_block("mlp").state_dict()) == layers | {f"bns.0.{part}" for part in norm}


@pytest.mark.parametrize("kind", REGION_BLOCKS)
def test_every_kind_keeps_the_shape_and_passes_gradients_on(kind: str) -> None:
    encoder = RegionEncoder(FEATURES, EncoderSettings(embedding=WIDTH, region_encoder=kind))
    features = torch.randn(3, 4, FEATURES, requires_grad=True)
    found = encoder(features)
    assert found.vectors.shape == (3, 4, WIDTH)
    (found.vectors * torch.randn(WIDTH)).sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0


def test_linear_is_no_block() -> None:
    assert make_block("linear", FEATURES, WIDTH) is None


def test_an_unknown_block_is_refused() -> None:
    with pytest.raises(InputError, match="encoder.region_encoder"):
        make_block("mpl", FEATURES, WIDTH)


@pytest.mark.parametrize("kind", ATTENDING)
def test_a_width_that_the_heads_do_not_divide_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="a multiple of 8, found encoder.embedding=20"):
        EncoderSettings(embedding=20, region_encoder=kind)
