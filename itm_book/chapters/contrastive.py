"""Answers to the exercises of the constraints: each a text, a few lines, and their numbers.

The first paragraph of a docstring says what is returned; the rest is the answer that the page
shows, with the code below it (`method_code.answer`). ``query [L, D]`` are words, ``keys [R, D]``
regions, ``A [L, R]`` the attention, ``swapped [L, D]`` a word of another pair for each word.

Page: "CCR and CCS", "Exercises".
"""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.constraints import ccr_loss, ccs_loss

Numbers = dict[str, float]


def ccr_uniform(query: Tensor, keys: Tensor, A: Tensor, swapped: Tensor) -> Numbers:
    r"""Return CCR of uniform attention, and its agreement with the dot products.

    What was attended to and what was passed over are then the same mean, so the loss is the margin.
    Its gradient is not zero. A step of descent raises the weights of regions whose dot product with
    the word is larger than their similarity with the mean region alone would explain; the
    correlation says how closely the step follows the dot products themselves. So CCR can teach
    attention that has not learned anything yet.
    """
    uniform = torch.full_like(A, 1 / len(keys)).requires_grad_()
    loss = ccr_loss(query, keys, uniform, margin=0.2)
    assert torch.isclose(loss, loss.new_tensor(0.2), atol=1e-4)
    step, S = -torch.autograd.grad(loss, uniform)[0], query @ keys.mT  # [L, R] each
    rows = zip(step, S, strict=True)
    correlations = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in rows]
    return {"loss": loss.item(), "correlation": float(torch.stack(correlations).mean())}


def ccr_one_region(query: Tensor, keys: Tensor, A: Tensor, swapped: Tensor) -> Numbers:
    """Return CCR of attention to the best region alone, of the host's, and of the worst alone.

    The margin is 1 here, so that hardly any word has no loss. The best region alone has a lower
    loss than the worst one, but it need not have the lowest: the cosine of a word with a mixture of
    several regions that show the thing can be larger than with each of them, because what is
    particular to one region averages out. Where the second number is the smallest, CCR favours
    attention that is spread for this pair.
    """
    S = query @ keys.mT  # [L, R]
    alone = torch.eye(len(keys)).to(S)  # [R, R]  all weight on one region
    best, worst = alone[S.argmax(1)], alone[S.argmin(1)]  # [L, R]
    attentions = {"best region": best, "as it is": A, "worst region": worst}
    losses = {name: ccr_loss(query, keys, a, margin=1.0) for name, a in attentions.items()}
    return {name: float(loss) for name, loss in losses.items()}


def ccs_same_word(query: Tensor, keys: Tensor, A: Tensor, swapped: Tensor) -> Numbers:
    """Return CCS with the swapped words, and with each word swapped for itself.

    A word swapped for itself fits exactly as well, so the loss is the margin, whatever the
    attention does, and its gradient is zero. With *the same word of another caption* it is nearly
    so, and what gradient there is pushes two vectors of one word apart.
    """
    itself = ccs_loss(query, keys, A, query, margin=0.2)
    assert torch.isclose(itself, itself.new_tensor(0.2), atol=1e-6)
    another = ccs_loss(query, keys, A, swapped)
    return {"another word": float(another), "itself": float(itself)}
