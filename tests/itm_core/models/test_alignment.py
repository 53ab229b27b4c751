"""Similarity vectors and tangents of layers against their equations, written out in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from itm_core.encoders.fragments import TINY
from itm_core.models.alignment import SimilarityVector, along_last
from itm_core.models.half_tanh import half_tanh, half_tanh_of_tanh, layer_of_tanh


def vectors(*shape: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draw, dtype=torch.float64)


def layer(inputs: int, outputs: int, seed: int = 0) -> nn.Linear:
    made = nn.Linear(inputs, outputs).double()
    made.weight.data, made.bias.data = vectors(outputs, inputs, seed=seed), vectors(outputs, seed=9)
    return made


def similarity(inputs: int = 6, outputs: int = 4) -> SimilarityVector:
    made = SimilarityVector(inputs, outputs).double()
    made.transform = layer(inputs, outputs)
    return made


def equation(made: SimilarityVector, x: Tensor) -> Tensor:
    y = x**2 @ made.transform.weight.T + made.transform.bias
    return y / ((y * y).sum(-1, keepdim=True).clamp_min(1e-30).sqrt() + TINY)


@pytest.mark.parametrize("by_image", [False, True])
def test_a_similarity_vector_is_its_equation_with_and_without_a_gradient(by_image: bool) -> None:
    x, made = vectors(3, 4, 2, 1, 6), similarity()
    if by_image:
        x = vectors(2, 3, 4, 1, 6).movedim(0, 2)
    expected = equation(made, x)
    torch.testing.assert_close(made(x), expected, rtol=1e-13, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(made(x.clone()), expected.detach(), rtol=1e-13, atol=0)


def test_the_gradient_is_that_of_the_equation() -> None:
    made, twin = similarity(), similarity()
    x = vectors(3, 4, 2, 1, 6).requires_grad_()
    y = x.detach().clone().requires_grad_()
    slopes = vectors(3, 4, 2, 1, 4, seed=1)
    made(x).backward(slopes)
    equation(twin, y).backward(slopes)
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-11, atol=1e-13)
    for ours, theirs in zip(made.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-13)


def test_a_zero_vector_has_the_gradient_of_the_equation() -> None:
    """Of zero differences without a bias: length zero, below the clamp of the square root."""
    made, twin = similarity(), similarity()
    for each in (made, twin):
        each.transform.bias.data.zero_()
    slopes = vectors(1, 1, 1, 1, 4, seed=1)
    made(torch.zeros(1, 1, 1, 1, 6, dtype=torch.float64)).backward(slopes)
    equation(twin, torch.zeros(1, 1, 1, 1, 6, dtype=torch.float64)).backward(slopes)
    torch.testing.assert_close(
        made.transform.bias.grad, twin.transform.bias.grad, rtol=1e-9, atol=0
    )


def test_parameters_that_are_not_trained_get_no_gradient() -> None:
    made = similarity()
    made.requires_grad_(False)
    x = vectors(1, 2, 1, 1, 6).requires_grad_()
    made(x).sum().backward()
    assert x.grad is not None
    assert made.transform.weight.grad is None


@given(seed=st.integers(0, 99), by_image=st.booleans())
@settings(max_examples=25, deadline=None)
def test_tangents_of_layers_are_tangents(seed: int, by_image: bool) -> None:
    x = vectors(2, 3, 4, 1, 5, seed=seed)
    if by_image:
        x = x.movedim(0, 2)
    first, other, second = layer(5, 6), layer(5, 2, seed=1), layer(6, 3, seed=2)
    half, other_half = half_tanh([first, other], x)
    torch.testing.assert_close(2 * half - 1, first(x).tanh(), rtol=0, atol=1e-14)
    torch.testing.assert_close(2 * other_half - 1, other(x).tanh(), rtol=0, atol=1e-14)
    expected = second(first(x).tanh())
    torch.testing.assert_close(layer_of_tanh(second, half), expected, rtol=0, atol=1e-13)
    twice = 2 * half_tanh_of_tanh(second, half) - 1
    torch.testing.assert_close(twice, expected.tanh(), rtol=0, atol=1e-13)


def test_a_layer_gets_the_rows_as_they_are_stored() -> None:
    stored = vectors(2, 3, 4, 1, 5)
    seen: list[Tensor] = []

    def note(rows: Tensor) -> Tensor:
        seen.append(rows)
        return rows

    assert along_last(note, stored.movedim(0, 2)).equal(stored.movedim(0, 2))
    assert seen[0].data_ptr() == stored.data_ptr()
    assert seen[0].shape == (24, 5)
