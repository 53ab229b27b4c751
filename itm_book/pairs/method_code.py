"""A method as code on its page: the source of its plain form, run on the pair of the chapter.

Page: "SCAN", "RCAR", "CHAN" and the chapter on the constraints.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from IPython.display import Markdown
from torch import Tensor

from itm_book.checkpoints.authors_names import their_name
from itm_book.datasets.run_features import run_features
from itm_book.reference.constraints import hardest
from itm_book.reference.plain import Function, linear
from itm_book.reference.rcar import Maps
from itm_book.reference.scan import attention
from itm_core.constraints import ConstraintSettings, constraint_loss
from itm_core.data.dataset import Split
from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation.scoring import encode_regions, pad
from itm_core.experiments.run import Run
from itm_core.models import Attending, AttendingSettings
from itm_core.models.pairing import AllPairs, Matched


def source(*functions: Callable[..., Any]) -> Markdown:
    """Return the source of functions or classes as highlighted code."""
    return _code("\n\n\n".join(inspect.getsource(f).rstrip() for f in functions))


def _code(text: str, language: str = "python") -> Markdown:
    return Markdown(f"```{language}\n{text}\n```")


def answer(function: Callable[..., Mapping[str, float]], *arguments: Any) -> Markdown:
    """Return the answer to an exercise: its text, its code, and what the code gives.

    The text is the docstring of ``function`` after its first paragraph; the code is run with
    ``arguments`` and returns named numbers.
    """
    text = inspect.getdoc(function) or ""
    results = function(*arguments)
    width = max(map(len, results))
    lines = [f"{name:<{width}}  {value:.4g}" for name, value in results.items()]
    parts = (text.partition("\n\n")[2], _code(without_docstring(function)).data)
    return Markdown("\n\n".join((*parts, _code("\n".join(lines), "text").data)))


def without_docstring(function: Callable[..., Any]) -> str:
    """Return the source of a function without its docstring."""
    text = inspect.getsource(function)
    body = ast.parse(text).body[0].body  # type: ignore[attr-defined]
    lines = text.splitlines()
    if ast.get_docstring(ast.parse(text).body[0]) is not None:  # type: ignore[arg-type]
        del lines[body[0].lineno - 1 : body[0].end_lineno]
    while not lines[body[0].lineno - 1].strip():
        del lines[body[0].lineno - 1]
    return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class EmbeddedPair:
    """One image and one caption after the encoders of a run.

    Attributes:
        V: regions ``[R, D]``.
        W: words ``[L, D]``, with ``<start>`` and ``<end>``.
        tokens: the words' ids ``[L]``.
        score: of the pair, by the form that training and evaluation use.
    """

    V: Tensor
    W: Tensor
    tokens: Tensor
    score: float


def embedded_pair(run: Run, split: Split, image: int, caption: int) -> EmbeddedPair:
    """Return the vectors of one image and one caption of a split, and their score."""
    return _embedded(run, split, [image], [caption])[0]


@torch.no_grad()
def _encoded(
    run: Run, split: Split, images: list[int], captions: list[int]
) -> tuple[Attending, Fragments, Fragments, Tensor]:
    """Return the matcher of a run, the regions, the words, and the ids of the words."""
    matcher = run.matcher()
    if not isinstance(matcher, Attending):
        raise InputError("not a method that attends", found=run.recipe.name)
    ids, lens = pad([run.vocabulary.encode(split.captions[caption]) for caption in captions])
    regions = encode_regions(matcher, run_features(run, split)[images])
    return matcher, regions, matcher.words(ids, lens), ids


@torch.no_grad()
def _embedded(run: Run, split: Split, images: list[int], captions: list[int]) -> list[EmbeddedPair]:
    matcher, regions, words, ids = _encoded(run, split, images, captions)
    scores = matcher(AllPairs(regions, words)).diagonal()
    pairs = []
    for k, score in enumerate(scores.tolist()):
        R, L = int(regions.lens[k]), int(words.lens[k])
        pairs.append(EmbeddedPair(regions.vectors[k, :R], words.vectors[k, :L], ids[k, :L], score))
    return pairs


def regulator_maps(run: Run) -> tuple[list[Maps], Function, float]:
    """Return what the plain RCAR needs of a run: its maps by step, its last one, its temperature.

    Raises `InputError` for a run without a regulator of RCAR in one direction.
    """
    settings, kind = run.recipe.matcher, run.recipe.regulator.kind
    if (
        kind != "rcar"
        or not isinstance(settings, AttendingSettings)
        or settings.direction == "both"
    ):
        raise InputError("not a run of RCAR in one direction", found=run.recipe.name)
    weights = {
        their_name(name, "rcar", settings.direction): value
        for name, value in run.matcher().state_dict().items()
    }
    steps = [Maps.of(weights, k) for k in range(run.recipe.regulator.steps)]
    w_s = partial(linear, weights=weights, name="sim_enc.sim_eval_w")
    return steps, w_s, settings.attention_temperature


@dataclass(frozen=True, eq=False)
class ConstrainedPair:
    """What the plain constraints need of a matching pair: the ends of the caption are left out.

    Attributes:
        query: words ``[L, D]``.
        keys: regions ``[R, D]``.
        A: attention ``[L, R]``.
        swapped: ``[L, D]``, for each word the hardest of another pair.
    """

    query: Tensor
    keys: Tensor
    A: Tensor
    swapped: Tensor


def _with_next(split: Split, image: int, caption: int) -> tuple[list[int], list[int]]:
    """Return a matching pair, and the next image with its first caption."""
    other = (image + 1) % len(split.regions)
    return [image, other], [caption, int(split.first_captions[other])]


def constrained_pairs(run: Run, split: Split, image: int, caption: int) -> list[ConstrainedPair]:
    """Return a matching pair and the next one, with the plain attention of SCAN t2i."""
    pairs = _embedded(run, split, *_with_next(split, image, caption))
    found = []
    for pair, other in (pairs, pairs[::-1]):
        query, A = pair.W[1:-1], attention(pair.W, pair.V)[1:-1]
        same = pair.tokens[1:-1, None] == other.tokens[None, 1:-1]
        swapped = hardest(A @ pair.V, other.W[1:-1], same)
        found.append(ConstrainedPair(query, pair.V, A, swapped))
    return found


@torch.no_grad()
def fast_constraints(run: Run, split: Split, image: int, caption: int) -> tuple[float, float]:
    """Return CCR and CCS of the two pairs of `constrained_pairs`, by the form of training."""
    matcher, regions, words, tokens = _encoded(run, split, *_with_next(split, image, caption))
    passes, images = matcher.attend(Matched(regions, words)), torch.arange(2)
    ccr, ccs = (
        float(constraint_loss(passes, settings, tokens=tokens, image=images))
        for settings in (ConstraintSettings(ccr=1.0), ConstraintSettings(ccs=1.0, swap="hard"))
    )
    return ccr, ccs
