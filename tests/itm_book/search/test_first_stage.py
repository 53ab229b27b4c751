"""The pooled embedding: what it is fitted to, and that padding and order change nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.search.first_stage import FirstStage, fit_first_stage
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.errors import InputError
from itm_core.evaluation.scoring import score_fragments
from itm_core.experiments import recipes
from tests.rights import closed


def concepts(images: int, captions: int, seed: int) -> tuple[Fragments, Fragments]:
    """Regions and words that show one of eight concepts each, nearly."""
    draw = torch.Generator().manual_seed(seed)
    seeds = l2norm(torch.randn(8, 16, generator=torch.Generator().manual_seed(9)))

    def shown(count: int, each: int) -> torch.Tensor:
        which = torch.randint(8, (count, each), generator=draw)
        return l2norm(seeds[which] + 0.1 * torch.randn(count, each, 16, generator=draw))

    lens = torch.randint(2, 6, (captions,), generator=draw)
    mask = (torch.arange(5) < lens[:, None])[..., None]
    return Fragments.of(shown(images, 6)), Fragments.of(shown(captions, 5) * mask, lens)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(x, 0), 0).astype(float) for x in (a, b)]
    pairs = zip(*(r.T for r in ranks), strict=True)
    return float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs]))


def test_it_orders_unseen_images_and_captions_nearly_as_the_matcher_does() -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=16").build(5, 20).eval()
    first = fit_first_stage(matcher, *concepts(300, 200, 0), width=8, anchors=32)
    regions, words = concepts(200, 40, 1)
    fine = score_fragments(matcher, [regions], words).numpy()
    quick = (first.images(regions) @ first.captions(words).T).numpy()
    assert spearman(fine, quick) > 0.85
    plain = (l2norm(regions.vectors.mean(1)) @ words.vectors.sum(1).T).numpy()
    assert spearman(fine, quick) > spearman(fine, plain)


def test_padding_changes_no_vector() -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=16").build(5, 20).eval()
    regions, words = concepts(40, 30, 0)
    first = fit_first_stage(matcher, regions, words, width=4, anchors=8)
    wider = Fragments.of(torch.cat([words.vectors, torch.zeros(30, 2, 16)], 1), words.lens)
    torch.testing.assert_close(first.captions(wider), first.captions(words))
    more = torch.cat([regions.vectors, torch.zeros(40, 3, 16)], 1)
    ragged = Fragments.of(more, torch.full((40,), 6))
    torch.testing.assert_close(first.images(ragged), first.images(regions))


def test_it_is_the_same_when_it_is_fitted_or_read_again(tmp_path: Path) -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=16").build(5, 20).eval()
    regions, words = concepts(40, 30, 0)
    first, again = (fit_first_stage(matcher, regions, words) for _ in range(2))
    first.save(tmp_path / "first.safetensors")
    read = FirstStage.load(tmp_path / "first.safetensors")
    for other in (again, read):
        torch.testing.assert_close(other.images(regions), first.images(regions), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="build the index again"):
        FirstStage.load(tmp_path / "nothing.safetensors")


def test_one_image_is_too_little() -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=16").build(5, 20).eval()
    regions, words = concepts(1, 30, 0)
    with pytest.raises(InputError, match="found 1 and 30"):
        fit_first_stage(matcher, regions, words)


def test_a_first_stage_on_disk_can_be_read_by_others_or_is_named(tmp_path: Path) -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=16").build(5, 20).eval()
    path = tmp_path / "first.safetensors"
    fit_first_stage(matcher, *concepts(40, 30, 0), width=4, anchors=8).save(path)
    (tmp_path / "another").touch()
    assert path.stat().st_mode == (tmp_path / "another").stat().st_mode
    with closed(path), pytest.raises(InputError, match="may not be read"):
        FirstStage.load(path)
    with pytest.raises(InputError, match="no first stage in this folder.*build the index again"):
        FirstStage.load(tmp_path / "absent.safetensors")
