"""Reference numbers of models: rebuilt from the file's ``config``, loaded and compared.

`compare_model` compares embeddings, scores, losses and gradients of all hosts. The options of each
family are read by `checkpoints.authors_options`, the names of its weights by
`checkpoints.authors_names`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from itm_book.checkpoints.authors_names import UNUSED, name_in
from itm_book.checkpoints.authors_options import ATTENDING, family_named
from itm_book.parity.format import Difference, Stored, gradient_differences, value_difference
from itm_book.parity.traces import trace_differences
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.errors import InputError
from itm_core.evaluation.scoring import score_fragments
from itm_core.models import Attending, Matcher
from itm_core.models.pairing import AllPairs
from itm_core.regulators import regulator_factory
from itm_core.training.losses import hinge


def family_of(stored: Stored) -> str | None:
    """Return the family of the model in a file; None for an unknown one."""
    return family_named([*stored.config, *stored.folder("weights")])


def build(stored: Stored, family: str) -> Attending:
    """Return the matcher that a file's ``config`` describes, with the file's weights.

    Raises `InputError` for an option or a weight that ours does not have.
    """
    c = stored.config
    try:
        encoder, settings, regulator = ATTENDING[family](c)
        first = "inputs/step0/images"  # of training steps on a batch each
        images = stored.tensor(first if first in stored.arrays else "inputs/images")
        matcher = Attending(
            images.shape[2],
            c["vocab_size"],
            encoder,
            settings,
            regulator_factory(regulator),
            images.shape[1],
        )
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    load(matcher, stored, family)
    return matcher.eval()


def load(matcher: Matcher, stored: Stored, family: str, folder: str = "weights") -> None:
    """Load the file's weights, without those that have no effect in this mode.

    The matcher is converted to their precision. Raises `InputError` for a missing or unknown
    weight.
    """
    arrays = stored.folder(folder)
    if any(array.dtype == np.float64 for array in arrays.values()):
        matcher.double()
    wanted = matcher.state_dict()
    state = {  # convolutions of width one are linear maps
        k: v.view(wanted[k].shape) if k in wanted and v.numel() == wanted[k].numel() else v
        for k, v in renamed(arrays, matcher, family).items()
    }
    try:
        matcher.load_state_dict(state)
    except RuntimeError as error:
        raise InputError("weights do not fit", file=stored.path, found=error) from None


def renamed(arrays: Mapping[str, np.ndarray], matcher: Matcher, family: str) -> dict[str, Tensor]:
    """Return the arrays under our names, without those that have no effect."""
    tensors = {name_in(matcher, k, family): torch.from_numpy(v) for k, v in arrays.items()}
    return {k: v for k, v in tensors.items() if k != UNUSED}


def check_model(family: str) -> Callable[[Stored], Iterator[Difference]]:
    """Return the checker of the models of a family."""

    def check(stored: Stored) -> Iterator[Difference]:
        matcher = build(stored, family)
        features = stored.tensor("inputs/images")
        features.requires_grad_("outputs/grad_images" in stored.arrays)
        ids, lens = stored.tensor("inputs/captions"), stored.tensor("inputs/lengths")
        regions, words = matcher.regions(features), matcher.words(ids, lens)
        yield from compare_model(stored, matcher, regions, words, family)
        if features.grad is not None:
            theirs = {"images": stored.tensor("outputs/grad_images")}
            for found in gradient_differences({"images": features.grad}, theirs):
                yield Difference("grad_images", found.error, found.limit)
        if "outputs/cap_ht" in stored.arrays:
            last = last_states(matcher.words, ids, lens)
            yield value_difference("cap_ht", last, stored.tensor("outputs/cap_ht"))
        yield from trace_differences(stored, matcher, regions, words)

    return check


def check_pfan(stored: Stored) -> Iterator[Difference]:
    """Yield the difference of every number of a PFAN model.

    Raises `InputError` for an option, an input or a weight that ours does not have.
    """
    features = torch.cat([stored.tensor("inputs/images"), stored.tensor("inputs/boxes")], -1)
    try:
        encoder, settings, _ = ATTENDING["pfan"](stored.config)
        words = stored.config["vocab_size"]
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    matcher = Attending(features.shape[2], words, encoder, settings)
    load(matcher, stored, "pfan")
    matcher.eval()
    ids, lens = stored.tensor("inputs/captions"), stored.tensor("inputs/lengths")
    yield from compare_model(
        stored, matcher, matcher.regions(features), matcher.words(ids, lens), "pfan"
    )


def compare_model(
    stored: Stored, matcher: Matcher, regions: Fragments, words: Fragments, family: str
) -> Iterator[Difference]:
    """Yield the differences of a model: embeddings, scores, losses, gradients.

    Leaves the gradients of the hardest-negative loss in the parameters.
    """
    theirs = {name: torch.from_numpy(v) for name, v in stored.folder("outputs").items()}
    image, caption = square_of(stored)
    square = matcher(AllPairs(regions.take(image), words.take(caption))).T
    margin = stored.config["margin"]
    hard = hinge(square, margin, hardest=True)
    ours: dict[str, Tensor] = {
        "img_emb": regions.vectors,
        "cap_emb": words.vectors,
        "cap_len": words.lens,
        "img_fc": regions.vectors.mean(1),
        "square_sims": square,
        "loss_sum": hinge(square, margin, hardest=False),
        "loss_max": hard,
        "loss_hard": hard,
    }
    for name in ours.keys() & theirs.keys():
        yield value_difference(name, ours[name].detach(), theirs[name])
    yield scores_difference(matcher, regions, words, theirs["sims"])
    hard.backward()
    gradients = {n[5:]: v for n, v in theirs.items() if n.startswith("grad/")}
    yield from gradient_differences(slopes(matcher, gradients, family), gradients)


def scores_difference(
    matcher: Matcher, regions: Fragments, words: Fragments, theirs: Tensor
) -> Difference:
    """Return the larger difference of two scores: computed as in training, and in tiles."""
    with torch.no_grad():
        tiled = score_fragments(matcher, [regions.detach()], words.detach())
        direct = matcher(AllPairs(regions, words)).T
    differences = [value_difference("sims", scores, theirs) for scores in (tiled, direct)]
    return max(differences, key=lambda d: (d.error != d.error, d.error))


def slopes(
    matcher: Matcher, theirs: Mapping[str, Tensor], family: str, *, keep_shape: bool = False
) -> dict[str, Tensor | None]:
    """Return our gradients under the release's names; None where we have no such parameter.

    A parameter without effect has no gradient here, and zeros in the file.
    """
    parameters = dict(matcher.named_parameters())
    gradients: dict[str, Tensor | None] = {}
    for name, stored in theirs.items():
        ours = name_in(matcher, name, family)
        slope = parameters[ours].grad if ours in parameters else None
        unused = ours == UNUSED or (ours in parameters and slope is None)
        gradients[name] = torch.zeros_like(stored) if unused else slope
        if slope is not None and slope.shape != stored.shape and not keep_shape:
            gradients[name] = slope.view(stored.shape)  # convolutions of width one are linear maps
    return gradients


def last_states(words: Any, ids: Tensor, lens: Tensor) -> Tensor:
    """Return the normalised mean of the last states of both GRU directions, ``[C, D]``."""
    packed = pack_padded_sequence(words.embed(ids), lens, batch_first=True, enforce_sorted=False)
    return l2norm(words.rnn(packed)[1][-2:].mean(0)).detach()


def square_of(stored: Stored) -> tuple[Tensor, Tensor]:
    """Return image and caption indices of the square batch of the losses."""
    if "inputs/sub_image_index" in stored.arrays:
        return stored.tensor("inputs/sub_image_index"), stored.tensor("inputs/sub_caption_index")
    captions = stored.tensor("inputs/square_captions")
    return torch.arange(len(captions)), captions
