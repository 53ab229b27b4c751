"""Encoders and fragments: initial values, padding, and the two ways to a mix's length."""

from __future__ import annotations

import math

import pytest
import torch

from itm_core.encoders.encoder import EncoderSettings, RegionEncoder, WordEncoder
from itm_core.encoders.fragments import Fragments, l2norm, length
from itm_core.errors import InputError


def test_initial_values_are_those_of_the_release() -> None:
    torch.manual_seed(0)
    settings = EncoderSettings(embedding=64, word_width=50)
    regions, words = RegionEncoder(200, settings), WordEncoder(300, settings)
    bound = math.sqrt(6 / (200 + 64))
    assert regions.fc.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert (regions.fc.bias == 0).all()
    assert words.embed.weight.abs().max().item() == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_words_do_not_depend_on_their_neighbours_in_the_batch(bidirectional: bool) -> None:
    torch.manual_seed(0)
    encoder = WordEncoder(
        20, EncoderSettings(embedding=8, word_width=5, bidirectional=bidirectional)
    )
    ids = torch.randint(3, 20, (3, 6))
    lens = torch.tensor([2, 6, 4])
    together = encoder(ids, lens)
    for row, size in enumerate(lens.tolist()):
        alone = encoder(ids[row : row + 1, :size], lens[row : row + 1])
        torch.testing.assert_close(together.vectors[row, :size], alone.vectors[0])
        assert (together.vectors[row, size:] == 0).all()


def test_two_directions_are_averaged() -> None:
    torch.manual_seed(0)
    settings = EncoderSettings(embedding=4, word_width=3, normalise_words=False)
    encoder = WordEncoder(9, settings)
    ids = torch.tensor([[1, 5, 2]])
    both, _ = encoder.rnn(encoder.embed(ids))
    expected = (both[..., :4] + both[..., 4:]) / 2
    torch.testing.assert_close(encoder(ids, torch.tensor([3])).vectors, expected)


def test_embeddings_have_unit_length_unless_told_otherwise() -> None:
    features = torch.randn(2, 3, 7)
    unit = RegionEncoder(7, EncoderSettings(embedding=5))(features)
    torch.testing.assert_close(unit.norms, torch.ones(2, 3))
    raw = RegionEncoder(7, EncoderSettings(embedding=5, normalise_regions=False))(features)
    assert not torch.allclose(raw.norms, torch.ones(2, 3))


def test_a_width_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="encoder.embedding"):
        EncoderSettings(embedding=0)


def test_lengths_and_unit_vectors_of_zero_are_safe() -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    (length(x).sum() + l2norm(x).sum()).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (l2norm(torch.zeros(4)) == 0).all()


def test_the_root_is_a_root_of_the_gram_matrix() -> None:
    V = Fragments.of(torch.randn(3, 6, 4, dtype=torch.float64))
    torch.testing.assert_close(V.root.mT @ V.root, V.gram)


def test_the_root_is_accurate_where_fragments_cancel() -> None:
    """Two nearly opposite regions: the Gram form loses the digits that the root keeps."""
    torch.manual_seed(0)
    v = torch.randn(1, 1, 64)
    V = torch.cat([v, -v + 1e-4 * torch.randn(1, 1, 64)], 1)
    a = torch.tensor([[0.5], [0.5]])
    true = (V.double().mT @ a.double()).norm().item()
    root = (Fragments.of(V).root @ a).norm().item()
    assert root == pytest.approx(true, rel=1e-2)


def test_the_root_bears_equal_and_zero_fragments() -> None:
    """As regions repeat and words are padded: lengths stay right to 1e-6 of the longest."""
    torch.manual_seed(0)
    v = l2norm(torch.randn(1, 3, 16))
    V = torch.cat([v, v, torch.zeros(1, 2, 16)], 1)
    root = Fragments.of(V).root
    for a in (
        torch.rand(8, 1),
        torch.eye(8)[:, 7:],
        torch.tensor([1.0, 0, 0, -1, 0, 0, 0, 0])[:, None],
    ):
        true = (V.double().mT @ a.double()).norm().item()
        assert (root @ a).norm().item() == pytest.approx(true, abs=1e-6)


def test_a_root_of_what_is_not_finite_is_not_finite() -> None:
    V = torch.randn(2, 3, 4)
    V[1, 1, 2] = torch.nan
    root = Fragments.of(V).root
    assert root[0].isfinite().all()
    assert root[1].isnan().all()


def test_taking_rows_trims_to_the_longest() -> None:
    words = Fragments.of(torch.randn(3, 6, 2), torch.tensor([2, 6, 4]))
    some = words.take(torch.tensor([2, 0]))
    assert some.vectors.shape == (2, 4, 2)
    assert some.lens.tolist() == [4, 2]
    assert some.mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert not some.take(torch.tensor([0])).ragged
