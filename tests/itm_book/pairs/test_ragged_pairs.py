"""Runs on images with different numbers of regions: only real regions are drawn and measured."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.chapters.does_attention_explain.measures import pair_attributions
from itm_book.chapters.regulators_in_motion.measures import regulator_trace
from itm_book.datasets.run_features import run_features
from itm_book.pairs.pair_records import records_of
from itm_book.pairs.split_attention import by_caption
from itm_book.search.distractors import ConcatGallery, SyntheticDistractors
from itm_book.search.gallery_store import build_store
from itm_book.search.searcher import Searcher
from itm_book.search.two_stage import encode_captions, rerank
from itm_core.data.dataset import Split, load_dataset
from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import by_query
from itm_core.evaluation.attention_quality import annotation, attention_quality, truth
from itm_core.evaluation.attention_queries import LAST, attended_queries
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import Run, train_or_load
from itm_core.models import DirectionOutput, Matcher, MatchOutput
from itm_core.models.pairing import REGIONS
from tests.scenes_pair import QUICK

METHODS = ("sgr", "bfan-equal", "rcar-i2t", "chan")
FEWEST = 3
CHANGES = (*QUICK, "training.train_images=10", "training.dev_images=4")


@pytest.fixture(scope="module")
def folder(scenes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny Scenes of which every image has lost some of its last regions."""
    folder = tmp_path_factory.mktemp("ragged")
    made = Path(shutil.copytree(scenes_folder / "scenes-tiny", folder / "ragged"))
    for split in ("train", "dev", "test"):
        for path in (made / f"{split}_ims.npy", made / f"{split}_boxes.npy"):
            values = np.load(path)
            lens = np.random.default_rng(0).integers(FEWEST, values.shape[1] + 1, len(values))
            values[np.arange(values.shape[1]) >= lens[:, None]] = 0
            np.save(path, values)
        np.save(made / f"{split}_region_lens.npy", lens)
    return folder


@pytest.fixture(scope="module")
def split(folder: Path) -> Split:
    return load_dataset(folder / "ragged").test


@pytest.fixture(scope="module", params=METHODS)
def run(request: pytest.FixtureRequest, folder: Path) -> Run:
    return train_or_load(
        folder / "ragged",
        f"{request.param}-smoke",
        root=folder / "runs",
        overrides=CHANGES,
        device="cpu",
        progress=False,
    )


@cache
def matcher_of(folder: Path) -> Matcher:
    return Run(folder).matcher()


@torch.no_grad()
def alone(run: Run, split: Split, image: int, caption: int) -> MatchOutput:
    """A pair by itself: the image has no padding, so that nothing is masked."""
    matcher = matcher_of(run.folder)
    ids = torch.tensor([run.vocabulary.encode(split.captions[caption])])
    features = torch.from_numpy(np.array(split.regions[[image], : split.regions_of(image)]))
    return matcher.explain(
        matcher.regions(features), matcher.words(ids, torch.tensor([len(ids[0])]))
    )


def test_scores_of_a_run_are_those_of_pairs_alone(run: Run, split: Split) -> None:
    for image, caption in ((0, 0), (1, 7), (5, 3)):
        expected = float(alone(run, split, image, caption).score)
        assert run.scores[image, caption] == pytest.approx(expected, abs=1e-5)


def test_records_have_the_real_regions_alone(run: Run, split: Split) -> None:
    pairs = [(image, int(split.place(image, 1))) for image in range(4)]
    for (image, caption), record in zip(pairs, records_of(run, split, pairs), strict=True):
        count = split.regions_of(image)
        assert record.pair.regions == count
        assert record.pair.boxes is not None
        assert len(record.pair.boxes) == count
        output = alone(run, split, image, caption)
        assert record.score == pytest.approx(float(output.score), abs=1e-5)
        for side, expected in zip(record.directions, output.directions, strict=True):
            weights = expected.weights[0, 1:-1, 0].numpy()
            np.testing.assert_allclose(side.weights[-1], weights, atol=1e-5)
            shown = slice(1, -1) if side.direction == "t2i" else slice(None)
            contribution = expected.contribution.flatten().numpy()[shown]
            np.testing.assert_allclose(side.contribution, contribution, atol=1e-5)
            assert all(len(values) == len(contribution) for values in side.temperature)
        total = sum(side.contribution.sum() for side in record.directions) + record.remainder
        assert total == pytest.approx(record.score, abs=1e-5)
        assert record.evidence().shape == (len(record.pair.words), count)


def queries_alone(
    output: DirectionOutput, relevant: np.ndarray, naming: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and relevance of the queries of a pair by itself, a row each."""
    weights = output.weights[0, :, 0].numpy()
    if output.key_axis == REGIONS:
        return weights[naming], relevant[naming]
    return weights.T, relevant.T


def test_attention_is_measured_on_real_regions(run: Run, split: Split) -> None:
    tokens, ground = encode(split, run.vocabulary), truth(split)
    assert ground is not None
    rows: dict[str, list[list[float]]] = {}
    dropped: dict[str, int] = {}
    of_caption: dict[str, dict[int, list[float]]] = {}
    for caption, image in enumerate(split.caption_image):
        count = split.regions_of(image)
        for output in alone(run, split, image, caption).directions:
            direction = "t2i" if output.key_axis == REGIONS else "i2t"
            queries = queries_alone(output, ground[0][caption][:, :count], ground[1][caption])
            weights, relevant = (torch.tensor(x) for x in queries)
            some = relevant.any(1)
            dropped[direction] = dropped.get(direction, 0) + int((~some).sum())
            if some.any():  # without padding: all of the keys are real
                m = by_query(weights, relevant, torch.full((len(weights),), weights.shape[1]))
                values = (m.precision, m.recall, m.f1, m.mass, m.pointing, m.chance)
                rows.setdefault(direction, []).extend(torch.stack(values, 1).tolist())
                of_caption.setdefault(direction, {})[caption] = m.f1.tolist()
    measured = attention_quality(run.matcher(), split, tokens)
    annotated = annotation(split)
    assert annotated is not None
    queries = attended_queries(run.matcher(), split, tokens, annotated)
    by_captions = by_caption(run.matcher(), split, tokens)
    assert set(measured) == set(rows) == set(by_captions)
    for direction, values in rows.items():
        q = measured[direction]
        ours = [q.precision, q.recall, q.f1, q.mass, q.pointing, q.chance]
        assert ours == pytest.approx(np.mean(values, 0).tolist(), abs=1e-4)
        assert (q.queries, q.dropped) == (len(values), dropped.get(direction, 0))
        queried = queries[direction, LAST].measured(0.5)
        assert queried.measures.chance.tolist() == pytest.approx([v[5] for v in values])
        assert queried.dropped[0] == q.dropped
        for caption, f1 in of_caption[direction].items():
            assert by_captions[direction][caption, 2] == pytest.approx(np.mean(f1), abs=1e-4)


def test_a_trace_has_the_real_regions_alone(run: Run, split: Split) -> None:
    trace = regulator_trace(run, split)
    if trace.direction == "i2t":
        counts = [split.regions_of(image) for image in split.caption_image]
        assert np.bincount(trace.pair).tolist() == counts
    expected = alone(run, split, int(split.caption_image[2]), 2)
    assert trace.score[2] == pytest.approx(float(expected.score), abs=1e-5)


def test_a_search_and_a_gallery_on_disk_score_as_the_run(
    run: Run, split: Split, tmp_path: Path
) -> None:
    searcher = Searcher(run, split)
    np.testing.assert_allclose(
        searcher.scores_of_images(split.captions[4]), run.scores[:, 4], atol=1e-5
    )
    np.testing.assert_allclose(searcher.scores_of_captions(3), run.scores[3], atol=1e-5)
    matcher, features = run.matcher(), run_features(run, split)
    store = build_store(matcher, features, tmp_path / "gallery", kind="float32")
    assert store.lens is not None
    words = encode_captions(matcher, encode(split, run.vocabulary)[4:5])
    order = np.array([6, 2, 9])
    fine = rerank(matcher, store.fragments(order), words)
    np.testing.assert_allclose(fine.numpy(), run.scores[order, 4], atol=1e-5)
    with pytest.raises(InputError, match="another gallery"):
        build_store(matcher, split.regions, tmp_path / "gallery", kind="float32")
    everything = score_matrix(matcher, features, encode(split, run.vocabulary))
    np.testing.assert_allclose(everything, run.scores, atol=1e-5)


def test_attributions_are_of_the_real_regions(folder: Path, split: Split) -> None:
    run = train_or_load(
        folder / "ragged", "bfan-equal-smoke", root=folder / "runs", overrides=CHANGES,
        device="cpu", progress=False,
    )  # fmt: skip
    maps = pair_attributions(run, split, 0)
    assert {m.shape[1] for m in maps.values()} == {split.regions_of(0)}


def test_synthetic_distractors_want_one_number_of_regions(split: Split) -> None:
    with pytest.raises(InputError, match="same number of regions in every image"):
        SyntheticDistractors(split.features, None, 3)
    some = SyntheticDistractors(split.regions, None, 3)
    with pytest.raises(InputError, match="same number of regions in every image"):
        ConcatGallery(split.features, some)
