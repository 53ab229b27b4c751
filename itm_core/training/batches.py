"""The batches of a training: which pairs are in each, shuffled, sorted, padded and augmented.

A batch depends on seed, epoch and step alone, so that a resumed training continues with the same
ones. They are built in a thread beside the training (see `feature_cache`).

Page: "The task", "How it is trained".
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core.data.arrays import images_of
from itm_core.data.ragged import region_lens
from itm_core.errors import InputError
from itm_core.evaluation.scoring import longest_first, pad
from itm_core.training.augmentation import drop_regions, drop_tokens, drop_words
from itm_core.training.feature_cache import cache_features, prefetch
from itm_core.training.gradients import Batch
from itm_core.training.settings import TrainingSettings


@dataclass(frozen=True)
class Pairs:
    """Training pairs: image features ``[I, R, F]``, captions as token ids, the image of each.

    Attributes:
        features: an array, or `RaggedRegions` where images have different numbers of regions.
        stop: ids of stop words.
        mask: the id that replaces a dropped word.
        vocabulary: the number of ids.
        units: the captions word by word where words are split into pieces (BERT).
    """

    features: Any
    captions: Sequence[Sequence[int]]
    image_of: np.ndarray
    stop: Sequence[int] | None = None
    mask: int = 0
    vocabulary: int = 0
    units: Sequence[Sequence[Sequence[int]]] | None = None


def batches(pairs: Pairs, training: TrainingSettings, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the captions of each batch of an epoch, shuffled by seed and epoch alone.

    The last batch may be smaller. With ``drop_last`` it is left out, unless it is the only one;
    a batch of a single pair, which has no negatives, is always left out.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(pairs.captions))
    size = training.batch
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    smallest = size if training.drop_last and len(order) >= size else 2
    return [part for part in parts if len(part) >= smallest]


def require_batch(pairs: int) -> None:
    """Raise `InputError` where so few training pairs make no batch."""
    if pairs < 2:
        raise InputError(
            "nothing to train on",
            found=f"{pairs} pair(s); a batch has two at least",
            remedy="take a larger training split, or a larger training.train_images",
        )


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Return a seed that no other step of this run has, the same when resumed."""
    words = np.random.SeedSequence([seed, epoch, step])
    return int(words.generate_state(1, np.uint64)[0] >> 1)


class BatchBuilder:
    """Builds the batches of a training on a device.

    Attributes:
        cache: the features ``[I, R, F]`` on the device; None where they are read from the disk.
    """

    def __init__(
        self, pairs: Pairs, training: TrainingSettings, seed: int, device: torch.device
    ) -> None:
        self.pairs, self.training, self.seed, self.device = pairs, training, seed, device
        kind = training.feature_cache
        if training.region_dropout and kind == "auto":
            kind = "never"  # regions are dropped before a batch goes to the device
        self.cache = cache_features(pairs.features, device, kind)

    def epoch(self, epoch: int, first: int = 0, last: int | None = None) -> Generator[Batch]:
        """Yield the batches of an epoch from step ``first`` on, the next ones built meanwhile."""
        chosen = batches(self.pairs, self.training, self.seed, epoch)
        steps = range(len(chosen))[first:last]
        return prefetch(lambda step: self.build(chosen[step], epoch, step), steps)

    def build(self, chosen: np.ndarray, epoch: int, step: int) -> Batch:
        """Return the chosen pairs as a batch, augmented, longest caption first."""
        seed = step_seed(self.seed, epoch, step)
        captions = self._captions(chosen, seed)
        order = longest_first(captions)
        ids, lens = pad([captions[i] for i in order])
        image = self.pairs.image_of[chosen][order]
        features, region_lens = self._features(image, seed)
        stop = None if self.pairs.stop is None else torch.tensor(self.pairs.stop)
        tokens = ids.to(self.device)
        return Batch(features, tokens, lens, torch.from_numpy(image), region_lens, stop)

    def _captions(self, chosen: np.ndarray, seed: int) -> list[Sequence[int]]:
        """Return the token ids of the captions, with words dropped where the recipe drops any."""
        pairs, training = self.pairs, self.training
        captions = [pairs.captions[i] for i in chosen]
        rate, keep = training.token_dropout, training.keep_special_tokens
        if not rate:
            return captions
        draw = Random(seed)
        if pairs.units is None:
            return [
                drop_tokens(tokens, rate, pairs.mask, draw, keep_special_tokens=keep)
                for tokens in captions
            ]
        ids = range(pairs.vocabulary)
        units = [pairs.units[i] for i in chosen]
        return [
            [tokens[0], *drop_words(words, rate, pairs.mask, ids, draw), tokens[-1]]
            for tokens, words in zip(captions, units, strict=True)
        ]

    def _features(self, image: np.ndarray, seed: int) -> tuple[Tensor, Tensor | None]:
        """Return the features of images on the device, and their numbers of regions.

        None where every image has all of them: none are dropped, and the dataset is not ragged.
        """
        lens = region_lens(self.pairs.features)
        lens = None if lens is None else lens[image]
        if self.cache is None:
            features = torch.from_numpy(images_of(self.pairs.features, image))
        else:
            features = self.cache[torch.from_numpy(image).to(self.device)].float()
        if self.training.region_dropout:
            draw = np.random.RandomState(seed % (1 << 32))
            rate = self.training.region_dropout
            kept, kept_lens = drop_regions(features.cpu().numpy(), rate, draw, lens)
            return kept.to(self.device), kept_lens
        if lens is None:
            return features.to(self.device), None
        return features[:, : lens.max()].to(self.device), torch.from_numpy(lens)
