"""SGRAF (AAAI 2021), caption by caption, under the names that its release gives the weights."""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.plain import EPSILON, Weights, batch_norm, linear, query_and_keys, unit
from itm_book.reference.scan import attention

SAF_NORM = "sim_enc.SAF_module.bn"


def sgr_scores(
    regions: Tensor, words: Tensor, lens: list[int], weights: Weights, *, steps: int = 3
) -> Tensor:
    """Return the scores ``[I, C]`` of similarity graph reasoning, in evaluation."""
    columns = []
    pooled = pooled_images(regions, weights)
    for caption, length in zip(words, lens, strict=True):
        X = nodes(regions, pooled, caption[:length], weights)
        for k in range(steps):
            name = f"sim_enc.SGR_module.{k}"
            queries = linear(X, weights, f"{name}.graph_query_w")
            keys = linear(X, weights, f"{name}.graph_key_w")
            edges = torch.softmax(queries @ keys.transpose(1, 2), dim=2)
            X = torch.relu(linear(edges @ X, weights, f"{name}.sim_graph_w"))
        columns.append(torch.sigmoid(linear(X[:, 0], weights, "sim_enc.sim_eval_w"))[:, 0])
    return torch.stack(columns, 1)


def saf_scores(regions: Tensor, words: Tensor, lens: list[int], weights: Weights) -> Tensor:
    """Return the scores ``[I, C]`` of similarity attention filtration, in evaluation."""
    columns = []
    pooled = pooled_images(regions, weights)
    for caption, length in zip(words, lens, strict=True):
        X = nodes(regions, pooled, caption[:length], weights)
        raw = linear(X, weights, "sim_enc.SAF_module.attn_sim_w").transpose(1, 2)
        columns.append(_filtered(X, batch_norm(raw, weights, SAF_NORM, axis=1)[:, 0], weights))
    return torch.stack(columns, 1)


def saf_training_scores(
    regions: Tensor, words: Tensor, lens: list[int], weights: Weights
) -> tuple[Tensor, float, float]:
    """Return scores ``[I, C]`` in training mode (without dropout), and SAF's running statistics.

    The batch of SAF's normalisation is one caption with all images; its running mean and
    variance move a tenth of the way at every caption, in the order of the captions.
    """
    columns = []
    pooled = pooled_images(regions, weights, training=True)
    mean, var = (float(weights[f"{SAF_NORM}.running_{what}"]) for what in ("mean", "var"))
    for caption, length in zip(words, lens, strict=True):
        X = nodes(regions, pooled, caption[:length], weights)
        raw = linear(X, weights, "sim_enc.SAF_module.attn_sim_w").transpose(1, 2)
        mean = 0.9 * mean + 0.1 * float(raw.mean())
        var = 0.9 * var + 0.1 * float(raw.var(correction=1))
        normed = batch_norm(raw, weights, SAF_NORM, axis=1, training=True)
        columns.append(_filtered(X, normed[:, 0], weights))
    return torch.stack(columns, 1), mean, var


def _filtered(X: Tensor, relevance: Tensor, weights: Weights) -> Tensor:
    shares = torch.sigmoid(relevance)
    shares = shares / (shares.abs().sum(1, keepdim=True) + EPSILON)
    pooled = unit((shares[:, :, None] * X).sum(1))
    return torch.sigmoid(linear(pooled, weights, "sim_enc.sim_eval_w"))[:, 0]


def nodes(regions: Tensor, pooled: Tensor, caption: Tensor, weights: Weights) -> Tensor:
    """Return the similarity vectors ``[I, 1 + l, K]`` of a caption: pooled, then words."""
    query, keys = query_and_keys(regions, caption, "t2i")
    attended = unit(attention(query, keys, temperature=9.0) @ keys)
    local = unit(linear((query - attended).pow(2), weights, "sim_enc.sim_tranloc_w"))
    caption_vector = pooled_caption(caption, weights).expand_as(pooled)
    first = unit(linear((pooled - caption_vector).pow(2), weights, "sim_enc.sim_tranglo_w"))
    return torch.cat([first[:, None], local], 1)


def pooled_images(regions: Tensor, weights: Weights, *, training: bool = False) -> Tensor:
    """Return one vector ``[I, D]`` for each image; the batch norm has a channel per region."""
    name = "sim_enc.v_global_w.embedding"
    local = linear(regions, weights, f"{name}_local.0")
    local = batch_norm(local, weights, f"{name}_local.1", axis=1, training=training)
    mean = linear(regions.mean(1), weights, f"{name}_global.0")
    mean = batch_norm(mean, weights, f"{name}_global.1", axis=1, training=training)
    joint = torch.tanh(local) * torch.tanh(mean)[:, None]
    return _mixed(regions, linear(joint, weights, f"{name}_common.0"))


def pooled_caption(caption: Tensor, weights: Weights) -> Tensor:
    """Return one vector ``[D]`` for a caption ``[l, D]``."""
    name = "sim_enc.t_global_w.embedding"
    local = torch.tanh(linear(caption, weights, f"{name}_local.0"))
    mean = torch.tanh(linear(caption.mean(0), weights, f"{name}_global.0"))
    return _mixed(caption, linear(local * mean, weights, f"{name}_common.0"))


def _mixed(fragments: Tensor, relevance: Tensor) -> Tensor:
    return unit((torch.softmax(relevance, dim=-2) * fragments).sum(-2))
