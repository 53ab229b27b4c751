"""The GRU of a training on a CPU: the hidden states and gradients of torch, for any lengths."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from itm_core.encoders import gru
from itm_core.errors import InputError

INPUT, WIDTH = 5, 4


def of_torch(rnn: nn.GRU, vectors: Tensor, lens: Tensor) -> Tensor:
    """The states of torch's module, ``[S, C, L, D]``."""
    packed = pack_padded_sequence(vectors, lens, batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True)
    return torch.stack(states.chunk(1 + rnn.bidirectional, dim=-1))


def made(bidirectional: bool = True, layers: int = 1, dtype: torch.dtype = torch.float64) -> nn.GRU:
    torch.manual_seed(1)
    rnn = nn.GRU(INPUT, WIDTH, layers, batch_first=True, bidirectional=bidirectional)
    return rnn.to(dtype)


def words(lens: list[int], dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (len(lens), max(lens) + 1, INPUT)  # a column that no caption reaches
    return torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()


def with_gradients(states: Tensor, rnn: nn.GRU, vectors: Tensor) -> list[Tensor]:
    """The states and the gradients of their random sum, by input and parameters."""
    factors = torch.randn(states.shape, generator=torch.Generator().manual_seed(3)).to(states)
    leaves = [vectors, *rnn.parameters()]
    return [states, *torch.autograd.grad((factors * states).sum(), leaves)]


@given(lens=st.lists(st.integers(1, 7), min_size=1, max_size=6), bidirectional=st.booleans())
def test_states_and_gradients_are_those_of_torch(lens: list[int], bidirectional: bool) -> None:
    rnn, vectors, counts = made(bidirectional), words(lens), torch.tensor(lens)
    assert gru.fused(rnn, vectors)
    ours = with_gradients(gru.hidden_states(rnn, vectors, counts), rnn, vectors)
    theirs = with_gradients(of_torch(rnn, vectors, counts), rnn, vectors)
    for own, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-13)


def test_rounding_of_float32_is_that_of_a_few_sums() -> None:
    lens = [3, 12, 1, 7]
    double, single = made(), made(dtype=torch.float32)
    expected = of_torch(double, words(lens), torch.tensor(lens))
    vectors = words(lens).detach().float()
    states = gru.hidden_states(single, vectors, torch.tensor(lens))
    torch.testing.assert_close(states.double(), expected, rtol=0, atol=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    gates = torch.randn(2, 5, 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 3 * WIDTH, WIDTH, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    counts = [3, 1, 1]
    assert torch.autograd.gradcheck(
        lambda *leaves: gru._Recurrence.apply(*leaves, counts), (gates, weight, bias)
    )


def test_a_caption_has_the_same_states_in_every_batch_and_zeros_beyond_its_words() -> None:
    rnn, lens = made(), [2, 6, 4]
    vectors = words(lens)
    together = gru.hidden_states(rnn, vectors, torch.tensor(lens))
    assert together.shape == (2, 3, 6, WIDTH)
    for row, count in enumerate(lens):
        alone = gru.hidden_states(rnn, vectors[row : row + 1], torch.tensor([count]))
        torch.testing.assert_close(together[:, row, :count], alone[:, 0])
        assert not together[:, row, count:].any()
    longer = gru.hidden_states(rnn, vectors, torch.tensor(lens), 7)
    assert torch.equal(longer[:, :, :6], together)
    assert longer.shape[2] == 7
    assert not longer[:, :, 6].any()


@pytest.mark.parametrize("layers", [1, 2])
def test_without_a_gradient_or_with_layers_the_states_are_torch_s_to_the_bit(layers: int) -> None:
    rnn, lens = made(layers=layers, dtype=torch.float32), [2, 6, 4]
    vectors, counts = words(lens, torch.float32), torch.tensor(lens)
    with torch.set_grad_enabled(layers > 1):
        assert not gru.fused(rnn, vectors)
        states = gru.hidden_states(rnn, vectors, counts)
    assert torch.equal(states, of_torch(rnn, vectors, counts))


def test_frozen_weights_of_a_fixed_input_take_torch_s_loop() -> None:
    rnn, vectors, counts = made(dtype=torch.float32), words([3, 2]).detach().float(), [3, 2]
    assert gru.fused(rnn, vectors)  # as the pooling of VSE-infinity, whose input is fixed
    rnn.requires_grad_(False)
    assert not gru.fused(rnn, vectors)
    states = gru.hidden_states(rnn, vectors, torch.tensor(counts))
    assert torch.equal(states, of_torch(rnn, vectors, torch.tensor(counts)))


@pytest.mark.parametrize("autocast", [True, False])
def test_autocast_and_a_gru_without_bias_take_torch_s_loop(autocast: bool) -> None:
    rnn = nn.GRU(INPUT, WIDTH, bias=autocast)
    with torch.autocast("cpu", enabled=autocast):
        assert not gru.fused(rnn, words([2], torch.float32))


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize(
    ("lens", "width", "length", "message"),
    [
        ([3, 0], INPUT, None, "not a number of words; expected 1 to 4, found 0"),
        ([3, -1], INPUT, None, "not a number of words; expected 1 to 4, found -1"),
        ([3, 5], INPUT, None, "not a number of words; expected 1 to 4, found 5"),
        ([3, 1], INPUT, 2, "too short for the states; expected at least 3, found 2"),
        ([3, 1], INPUT, 0, "too short for the states; expected at least 3, found 0"),
        ([3, 1], INPUT + 1, None, "vectors of another width; expected 5, found 6"),
    ],
)
def test_what_does_not_fit_is_refused_alike_with_and_without_a_gradient(
    lens: list[int], width: int, length: int | None, message: str, gradient: bool
) -> None:
    vectors = torch.randn(2, 4, width, dtype=torch.float64)
    with torch.set_grad_enabled(gradient), pytest.raises(InputError, match=f"^{message}$"):
        gru.hidden_states(made(), vectors, torch.tensor(lens), length)
