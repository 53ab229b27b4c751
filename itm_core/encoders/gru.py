"""The hidden states of a GRU while it is trained on a CPU, where torch's own loop is slow.

torch goes through the words once for each direction and adds to the gradient of the weights at
every word. Here both directions go through the words together, and the gradient of each weight is
one product over all words: the same numbers but for rounding, in half to three quarters of the
time.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from itm_core.errors import InputError


def hidden_states(rnn: nn.GRU, vectors: Tensor, lens: Tensor, length: int | None = None) -> Tensor:
    """Return the hidden states ``[S, C, L, D]`` of the last layer, of S = 1 or 2 directions.

    Raises `InputError` for a caption without words, and for vectors or a length that do not fit.

    Args:
        rnn: the first state is zero.
        vectors: ``[C, W, E]``, its input.
        lens: ``[C]``, 1 to W; states beyond a length are zero.
        length: L, at least the longest of ``lens``, which is the default.
    """
    lens = lens.cpu()
    longest = _longest(rnn, vectors, lens)
    length = longest if length is None else length
    if length < longest:
        raise InputError("too short for the states", expected=f"at least {longest}", found=length)
    if fused(rnn, vectors):
        return _of_one_layer(rnn, vectors, lens, length)
    packed = pack_padded_sequence(vectors, lens, batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=length)
    return torch.stack(states.chunk(2 if rnn.bidirectional else 1, dim=-1))


def fused(rnn: nn.GRU, vectors: Tensor) -> bool:
    """Return whether the loop of this module is used: one layer, on a CPU, with a gradient.

    Forward hooks of ``rnn`` do not run then, and the gradient has no gradient.
    """
    on_cpu = vectors.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    if not (on_cpu and rnn.num_layers == 1 and rnn.bias and torch.is_grad_enabled()):
        return False
    return vectors.requires_grad or any(weight.requires_grad for weight in rnn.parameters())


def _longest(rnn: nn.GRU, vectors: Tensor, lens: Tensor) -> int:
    """Return the largest length; raises `InputError` for one that is not 1 to W, and other E."""
    _, words, width = vectors.shape
    if width != rnn.input_size:
        raise InputError("vectors of another width", expected=rnn.input_size, found=width)
    shortest, longest = int(lens.min()), int(lens.max())
    if not 1 <= shortest <= longest <= words:
        wrong = shortest if shortest < 1 else longest
        raise InputError("not a number of words", expected=f"1 to {words}", found=wrong)
    return longest


def _of_one_layer(rnn: nn.GRU, vectors: Tensor, lens: Tensor, length: int) -> Tensor:
    """Return the hidden states as `hidden_states` does, with the words packed step by step.

    The rows of a step are the captions that have such a word, long captions first; the second
    direction counts the words from the end.
    """
    directions = ["", "_reverse"][: 1 + rnn.bidirectional]
    order = torch.argsort(lens, descending=True, stable=True)
    real = torch.arange(int(lens.max()))[:, None] < lens[order]  # [step, caption]
    step, place = real.nonzero().unbind(1)
    row = order[place]
    words = [step, lens[row] - 1 - step][: len(directions)]

    names = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    weight, bias, weight_of_state, bias_of_state = (
        torch.stack([getattr(rnn, f"{name}_l0{direction}") for direction in directions])
        for name in names
    )
    read = torch.stack([vectors[row, word] for word in words])  # [S, N, E]
    gates = torch.baddbmm(bias[:, None], read, weight.mT)
    counts = real.sum(1).tolist()
    states = _Recurrence.apply(gates, weight_of_state, bias_of_state, counts)
    padded = vectors.new_zeros(len(directions), len(lens), length, states.shape[-1])
    direction = torch.arange(len(directions))[:, None]
    return padded.index_put((direction, row, torch.stack(words)), states)


class _Recurrence(torch.autograd.Function):
    """The states ``[S, N, D]`` of packed words, from the gates of their input ``[S, N, 3 D]``.

    The rows of a step begin with those that have a next word, so their last states are the first
    rows of the step before; the first state is zero. The weight W is ``[S, 3 D, D]``, the bias b
    ``[S, 3 D]``. With ``u = W h + b`` of the last state h, in thirds as the gates ``x``:
    ``r = sigmoid(x_r + u_r)``, ``z = sigmoid(x_z + u_z)``, ``n = tanh(x_n + r u_n)``, and the new
    state is ``n + z (h - n)``, as in torch's GRU.
    """

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, counts: Sequence[int]
    ) -> Tensor:
        """Return the states; ``counts`` are the words of each step, in descending order."""
        width = weight.shape[2]
        states, before, new, inner_new = (
            gates.new_empty(*gates.shape[:2], width) for _ in range(4)
        )
        switches = gates.new_empty(*gates.shape[:2], 2 * width)  # r and z
        state = states.new_zeros(len(gates), counts[0], width)
        for start, stop in pairwise(accumulate(counts, initial=0)):
            now, state = slice(start, stop), state[:, : stop - start]
            inner = torch.baddbmm(bias[:, None], state, weight.mT)
            both = torch.add(gates[:, now, : 2 * width], inner[..., : 2 * width]).sigmoid_()
            r, z = both.chunk(2, -1)
            candidate = torch.addcmul(
                gates[:, now, 2 * width :], r, inner[..., 2 * width :]
            ).tanh_()
            before[:, now], switches[:, now], new[:, now] = state, both, candidate
            inner_new[:, now] = inner[..., 2 * width :]
            state = states[:, now] = torch.lerp(candidate, state, z)
        ctx.save_for_backward(weight, before, switches, new, inner_new)
        ctx.counts = counts
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return the gradients of gates, weight and bias."""
        weight, before, switches, new, inner_new = ctx.saved_tensors
        width = weight.shape[2]
        r, z = switches.chunk(2, -1)
        # for all words at once: from the gradient of the state to those of what n and z are
        # computed from, and from that of n to that of r
        to_new = (1 - z) * (1 - new.square())
        to_z = (before - new) * z * (1 - z)
        to_r = inner_new * r * (1 - r)
        of_inner, of_new = slope.new_empty(*slope.shape[:2], 3 * width), torch.empty_like(new)
        carried = slope.new_zeros(len(slope), ctx.counts[0], width)
        for start, stop in reversed(list(pairwise(accumulate(ctx.counts, initial=0)))):
            now, some = slice(start, stop), slice(stop - start)
            of_state = slope[:, now] + carried[:, some]
            change = of_new[:, now] = of_state * to_new[:, now]
            inner = of_inner[:, now]
            inner[..., :width] = change * to_r[:, now]
            inner[..., width : 2 * width] = of_state * to_z[:, now]
            inner[..., 2 * width :] = change * r[:, now]
            carried[:, some] = torch.baddbmm(of_state * z[:, now], inner, weight)
        of_gates = torch.cat([of_inner[..., : 2 * width], of_new], -1)
        return of_gates, of_inner.mT @ before, of_inner.sum(1), None
