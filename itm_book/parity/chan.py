"""CHAN's reference numbers: whole models, codings and poolings, losses."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from itm_book.checkpoints.authors_options import chan_settings, coding_settings
from itm_book.parity.format import Difference, Stored, gradient_differences, value_difference
from itm_book.parity.models import load, scores_difference, slopes
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.models import Attending, AttendingSettings, DirectionOutput
from itm_core.models.aggregation import aggregate
from itm_core.models.pairing import REGIONS, WORDS, AllPairs
from itm_core.training.losses import hinge, info_nce

NAN = "NaN in the release: a padded weight of zero times minus infinity"
OVERFLOW = "infinite in the release, which exponentiates without a shift"
PADDING = "values in padding, which do not affect scores; ours are zero"
NUMBER = r"[\d.]+(?:e[+-]?\d+)?"
LOSS = re.compile(rf"(contrastive|infonce)_(max|sum|t{NUMBER})_m({NUMBER})")
LOG_LARGEST = math.log(torch.finfo(torch.float32).max)


def build(stored: Stored, *, masked: bool = False) -> Attending:
    """Return the matcher of a file's options and weights; raises `InputError`.

    ``masked`` masks padded regions in the attention of the encoder, unlike the release.
    """
    c = stored.config
    try:
        encoder, settings, _ = chan_settings(c)
        encoder = encoder.replace(mask_regions=masked)
        width, words = c["img_dim"], c["vocab_size"]
        matcher = _empty(encoder, settings, width, words, c.get("bert_config"))
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    load(matcher, stored, "chan")
    return matcher.eval()


def _empty(
    encoder: EncoderSettings,
    settings: AttendingSettings,
    width: int,
    words: int,
    bert: Mapping[str, Any] | None,
) -> Attending:
    if bert is None:
        return Attending(width, words, encoder, settings)
    from itm_core.encoders.bert import BertWordEncoder, transformers

    values = {k: v for k, v in bert.items() if k not in ("pooler", "transformers")}
    config = transformers().BertConfig(vocab_size=words, **values)
    plain = encoder.replace(text_encoder="gru")
    matcher = Attending(width, words, plain, settings)
    matcher.words = BertWordEncoder(encoder, config)
    return matcher


def check_model(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of a whole model of CHAN."""
    matcher = build(stored)
    images, sizes = stored.tensor("inputs/images"), stored.tensor("inputs/image_lengths")
    ids, lens = stored.tensor("inputs/captions"), stored.tensor("inputs/lengths")
    regions, words = matcher.regions(images, sizes), matcher.words(ids, lens)
    theirs = {name: torch.from_numpy(v) for name, v in stored.folder("outputs").items()}
    yield from _row_differences("img_emb", regions, theirs["img_emb"], PADDING)
    bert = stored.config["text_enc_type"] == "bert"
    yield from _row_differences("cap_emb", words, theirs["cap_emb"], PADDING if bert else None)
    masked = build(stored, masked=True)
    if "img_emb_alone" in theirs:
        yield from _single_image_differences(masked, images, sizes, theirs["img_emb_alone"])
    with torch.no_grad():
        direction = matcher.match(AllPairs(regions, words)).directions[0]
    yield from _code_differences(direction, regions, words, theirs)
    yield scores_difference(matcher, regions, words, theirs["sims"])
    image, caption = (stored.tensor(f"inputs/sub_{k}_index") for k in ("image", "caption"))
    square = matcher(
        AllPairs(
            matcher.regions(images[image], sizes[image]), matcher.words(ids[caption], lens[caption])
        )
    ).T
    yield value_difference("sub_sims", square.detach(), theirs["sub_sims"])
    yield from loss_differences(square, theirs)
    loss = hinge(square, stored.config["margin"], hardest=True)
    yield value_difference("loss", loss.detach(), theirs["loss"])
    loss.backward()
    yield from _slope_differences(matcher, theirs)


def _row_differences(
    name: str, ours: Fragments, theirs: Tensor, exempt: str | None = None
) -> Iterator[Difference]:
    """Yield differences of rows, and of padding, which ``exempt`` may except with a reason."""
    vectors = _widened(ours.vectors.detach(), theirs.shape[1], 0.0, dim=1)
    mask = _widened(ours.mask, theirs.shape[1], False, dim=1)
    if vectors.shape != theirs.shape:
        yield value_difference(name, vectors, theirs)
        return
    yield value_difference(name, vectors[mask], theirs[mask])
    if not mask.all():
        found = value_difference(f"{name} padding", vectors[~mask], theirs[~mask])
        yield Difference(found.name, found.error, found.limit, exempt)


def _widened(x: Tensor, width: int, value: float, dim: int = -1) -> Tensor:
    """Return ``x`` padded to the width of the release's batch."""
    missing = width - x.shape[dim]
    if missing <= 0:
        return x
    shape = list(x.shape)
    shape[dim] = missing
    return torch.cat([x, x.new_full(shape, value)], dim)


def _single_image_differences(
    matcher: Attending, images: Tensor, sizes: Tensor, theirs: Tensor
) -> Iterator[Difference]:
    """Yield differences of a masked encoder from images that are encoded one at a time.

    The released "transformer" attends over the images of a batch, so this is a batch of one.
    """
    with torch.no_grad():
        if getattr(matcher.regions.block, "over_images", False):
            pairs = zip(images, sizes, strict=True)
            rows = [matcher.regions(x[None, :n]).vectors[0] for x, n in pairs]
            regions = Fragments.of(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), sizes)
        else:
            regions = matcher.regions(images, sizes)
    yield from _row_differences("img_emb_alone", regions, theirs)


def _code_differences(
    direction: DirectionOutput, regions: Fragments, words: Fragments, theirs: Mapping[str, Tensor]
) -> Iterator[Difference]:
    """Yield the differences of codes, laid out ``[I, C, words or regions]`` with -1 for padding."""
    assert direction.relevance is not None
    words_are_queries = direction.key_axis == REGIONS
    if words_are_queries:
        codes = direction.relevance[..., 0].permute(2, 0, 1)
    else:
        codes = direction.relevance[:, 0].transpose(0, 1)
    mask = words.mask[None] if words_are_queries else regions.mask[:, None]
    codes = codes.masked_fill(~mask, -1)
    if "coding" in theirs:
        codes = _widened(codes, theirs["coding"].shape[-1], -1)
        yield value_difference("coding", codes, theirs["coding"])
    chosen = direction.passes[-1].chosen
    if "best_region" in theirs and chosen is not None:
        ours = chosen[..., 0].permute(2, 0, 1).masked_fill(~mask, -1)
        ours = _widened(ours, theirs["best_region"].shape[-1], -1)
        yield value_difference("best_region", ours, theirs["best_region"])


def loss_differences(square: Tensor, theirs: Mapping[str, Tensor]) -> Iterator[Difference]:
    """Yield the differences of every loss of a square score matrix."""
    square = square.detach()
    for name, value in theirs.items():
        if name.startswith("loss_"):
            loss_name = name.removeprefix("loss_")
            found = value_difference(name, named_loss(loss_name, square), value)
            yield _excused(found, value, loss_name, square)
        elif name.startswith("float64_loss_"):
            ours = named_loss(name.removeprefix("float64_loss_"), square)
            yield value_difference(name, ours, value)


def _excused(found: Difference, theirs: Tensor, loss_name: str, square: Tensor) -> Difference:
    """Return the difference of a loss or of its gradient, exempt where the release overflows."""
    if theirs.isfinite().all() or not _overflows(loss_name, square):
        return found
    return Difference(found.name, found.error, found.limit, exempt=OVERFLOW)


def _overflows(name: str, square: Tensor) -> bool:
    """Return whether a loss without a shift overflows float32."""
    kind, variant, margin = _parts(name)
    if kind != "infonce":
        return False
    right = square.diagonal()
    gaps = torch.stack([square - right[:, None], square - right[None]])
    exponents = (gaps.double() + float(margin)) / float(variant[1:])
    return bool(exponents.logsumexp((1, 2)).max() > LOG_LARGEST)


def named_loss(name: str, square: Tensor) -> Tensor:
    """Return the loss of a name such as ``contrastive_max_m0.2`` or ``infonce_t0.1_m0``."""
    kind, variant, margin = _parts(name)
    if kind == "contrastive":
        return hinge(square, float(margin), hardest=variant == "max")
    return info_nce(square, float(variant[1:]), float(margin))


def _parts(name: str) -> tuple[str, str, str]:
    match = LOSS.fullmatch(name)
    if match is None:
        raise InputError("unknown loss", found=name)
    kind, variant, margin = match.groups()
    return kind, variant, margin


def _slope_differences(matcher: Attending, theirs: Mapping[str, Tensor]) -> Iterator[Difference]:
    """Yield the differences of gradients; large matrices are stored as a norm and a corner."""
    gradients = {n[5:]: v for n, v in theirs.items() if n.startswith("grad/")}
    yield from gradient_differences(slopes(matcher, gradients, "chan"), gradients)
    for folder in ("grad_norm", "grad_head"):
        parts = {n.split("/", 1)[1]: v for n, v in theirs.items() if n.startswith(f"{folder}/")}
        like = {n: torch.empty(0) for n in parts}
        for name, slope in slopes(matcher, like, "chan", keep_shape=True).items():
            assert slope is not None
            ours = slope.norm() if folder == "grad_norm" else slope[:8, :8]
            error = (ours - parts[name]).abs().max()
            limit = 1e-4 * max(float(slope.abs().max()), float(parts[name].abs().max()))
            yield Difference(f"{folder}/{name}", float(error), limit)


def check_coding(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of one coding with one pooling on given embeddings."""
    V, W = (stored.tensor(f"inputs/{n}").requires_grad_() for n in ("img_emb", "cap_emb"))
    settings = coding_settings(stored.config)
    sizes = stored.tensor("inputs/image_lengths")
    if stored.config["coding_type"] == "T2ICrossAttentionPool":
        sizes = torch.full_like(sizes, V.shape[1])  # padded regions take part in the release
    regions, words = Fragments.of(V, sizes), Fragments.of(W, stored.tensor("inputs/lengths"))
    matcher = Attending(1, 1, EncoderSettings(embedding=1, word_width=1), settings).eval()
    theirs = {name: torch.from_numpy(v) for name, v in stored.folder("outputs").items()}
    output = matcher.match(AllPairs(regions, words))
    yield from _code_differences(
        output.directions[0], regions, words, {k: v for k, v in theirs.items() if k == "coding"}
    )
    sims = output.score.T
    finite = theirs["sims"].isfinite()
    found = value_difference("sims", sims.detach()[finite], theirs["sims"][finite])
    yield Difference("sims", found.error, found.limit, exempt=None if finite.all() else NAN)
    if not finite.all():  # those without padding agree all the same
        yield Difference("sims without padding", found.error, found.limit)
        words_are_queries = output.directions[0].key_axis == REGIONS
        full = words.mask.all(1)[None] if words_are_queries else regions.mask.all(1)[:, None]
        yield Difference("NaN elsewhere than in padding", float((full != finite).sum()), 0.0)
        yield Difference("NaN in ours", float((~sims.isfinite()).sum()), 0.0)
    image, caption = (stored.tensor(f"inputs/sub_{k}_index") for k in ("image", "caption"))
    square = sims[image[:, None], caption[None]]
    yield from loss_differences(square, theirs)
    if "loss" in theirs:
        loss = hinge(square, stored.config["margin"], hardest=True)
        yield value_difference("loss", loss.detach(), theirs["loss"])
    gradients = {n[5:]: v for n, v in theirs.items() if n.startswith("grad/")}
    if gradients:
        loss.backward()
        yield from gradient_differences({"img_emb": V.grad, "cap_emb": W.grad}, gradients)


def check_poolings(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of every pooling at several temperatures."""
    codes = stored.tensor("inputs/coding").permute(1, 2, 0)[..., None]  # [C, L, P, 1]
    lens = stored.tensor("inputs/lengths")
    mask = (torch.arange(codes.shape[1]) < lens[:, None])[:, :, None, None]
    for name in stored.folder("outputs"):
        kind, _, temperature = name.partition("_t")
        rule = {"lse": "LSE", "softmax_unpadded": "softmax"}.get(kind, kind)
        beta = float(temperature) if temperature else 1.0
        whole = kind != "softmax_unpadded"
        x = codes if whole else codes[:, : stored.config["softmax_words"]]
        ours = aggregate(x, WORDS, kind=rule, temperature=1 / beta, mask=mask if whole else None).T
        ours = ours / beta if rule == "LSE" else ours  # the release's is not scaled
        yield value_difference(name, ours, stored.tensor(f"outputs/{name}"))


def check_losses(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of losses and their gradients on named score matrices."""
    for name in stored.folder("outputs"):
        found = re.fullmatch(r"(?:float64_)?(loss|grad)/(.+)/([^/]+)", name)
        if not found:
            continue
        what, matrix, loss_name = found.groups()
        scores = stored.tensor(f"inputs/sims_{matrix}").requires_grad_()
        ours = named_loss(loss_name, scores)
        theirs = stored.tensor(f"outputs/{name}")
        difference = value_difference(name, ours.detach(), theirs)
        if what == "grad":
            (slope,) = torch.autograd.grad(ours, scores)
            (of_slope,) = gradient_differences({name: slope}, {name: theirs})
            difference = Difference(name, of_slope.error, of_slope.limit)
        yield _excused(difference, theirs, loss_name, scores.detach())
