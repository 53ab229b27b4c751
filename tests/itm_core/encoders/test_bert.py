"""BERT as word encoder, against a plain BERT; and folders that are not what they should be.

The whole model is also compared with the authors' numbers, in a file too large for this folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from itm_core.data import word_pieces
from itm_core.data.word_pieces import INSTALLED, WordPieces, bert_folder, bert_hashes
from itm_core.encoders.bert import CAPTIONS_AT_ONCE, BertWordEncoder
from itm_core.encoders.encoder import EncoderSettings, make_word_encoder
from itm_core.errors import InputError

library = pytest.importorskip("transformers")

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] a man rid ##ing ##es horse . ' s".split()
WIDTH, HEADS, LONGEST = 16, 2, 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A one-layer BERT with its heads for pre-training, as published ones come."""
    path = tmp_path_factory.mktemp("bert")
    config = library.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        intermediate_size=24,
        max_position_embeddings=LONGEST,
        initializer_range=0.4,
    )
    torch.manual_seed(0)
    library.BertForPreTraining(config).save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    return path


def an_encoder(folder: Path | str, **choices: object) -> BertWordEncoder:
    torch.manual_seed(1)
    choices = {"embedding": 8, "text_encoder": "bert", "bert": str(folder), **choices}
    return make_word_encoder(0, EncoderSettings(**choices)).eval()


def plain_bert(folder: Path, ids: list[int]) -> Tensor:
    """The last states of one caption, from the stored weights by name, in float64."""
    w = {k: v.double() for k, v in load_file(folder / "model.safetensors").items()}

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        x = x / (x.pow(2).mean(1, keepdim=True) + 1e-12).sqrt()
        return x * w[f"{name}.LayerNorm.weight"] + w[f"{name}.LayerNorm.bias"]

    start, layer = "bert.embeddings", "bert.encoder.layer.0"
    x = w[f"{start}.word_embeddings.weight"][ids]
    x = x + w[f"{start}.position_embeddings.weight"][: len(ids)]
    x = norm(x + w[f"{start}.token_type_embeddings.weight"][0], start)
    ask, key, value = (
        linear(x, f"{layer}.attention.self.{n}").view(len(ids), HEADS, -1).transpose(0, 1)
        for n in ("query", "key", "value")
    )
    weights = (ask @ key.mT / math.sqrt(WIDTH // HEADS)).softmax(2)
    seen = (weights @ value).transpose(0, 1).flatten(1)
    x = norm(x + linear(seen, f"{layer}.attention.output.dense"), f"{layer}.attention.output")
    inner = linear(x, f"{layer}.intermediate.dense")
    inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    return norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output")


@pytest.mark.parametrize("normalised", [True, False])
def test_words_are_those_of_a_plain_bert(folder: Path, normalised: bool) -> None:
    encoder = an_encoder(folder, normalise_words=normalised)
    captions = [[2, 5, 6, 3], [2, 7, 8, 0, 10, 11, 3], [2, 3]]  # 0 may stand inside a caption
    lens = torch.tensor([len(c) for c in captions])
    ids = torch.tensor([c + [0] * (7 - len(c)) for c in captions])
    found = encoder(ids, lens)
    assert found.lens.tolist() == lens.tolist()
    weight, bias = (p.detach().double() for p in encoder.linear.parameters())
    for row, caption in zip(found.vectors, captions, strict=True):
        expected = plain_bert(folder, caption) @ weight.T + bias
        if normalised:
            expected = expected / expected.pow(2).sum(1, keepdim=True).sqrt()
        torch.testing.assert_close(row[: len(caption)].double(), expected, rtol=0, atol=2e-6)
        assert not row[len(caption) :].any()


def test_captions_of_all_lengths_in_any_order_are_those_of_each_alone(folder: Path) -> None:
    """More captions than are computed at once, unsorted: padding and order change nothing."""
    encoder = an_encoder(folder)
    draw = torch.Generator().manual_seed(3)
    lens = torch.randint(2, LONGEST + 1, (2 * CAPTIONS_AT_ONCE + 5,), generator=draw)
    ids = torch.randint(5, len(PIECES), (len(lens), LONGEST), generator=draw)
    together = encoder(ids, lens).vectors
    assert together.shape == (len(lens), LONGEST, 8)
    for row, caption, count in zip(together, ids, lens.tolist(), strict=True):
        alone = encoder(caption[None, :count], torch.tensor([count])).vectors[0]
        torch.testing.assert_close(row[:count], alone, rtol=0, atol=1e-6)
        assert not row[count:].any()


def test_weights_in_half_precision_are_computed_in_full(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bert"
    shutil.copytree(folder, copy)
    halves = {k: v.half() for k, v in load_file(copy / "model.safetensors").items()}
    save_file(halves, copy / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((copy / "config.json").read_text()) | {"dtype": "float16"}
    (copy / "config.json").write_text(json.dumps(config))
    encoder = an_encoder(copy)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}


def test_hashes_are_of_the_files_that_decide_the_model(folder: Path, tmp_path: Path) -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    copy = tmp_path / "bert"
    shutil.copytree(folder, copy)
    names = ["config.json", "vocab.txt", "model.safetensors"]
    assert bert_hashes(str(copy)) == {name: digest(copy / name) for name in names}
    (copy / "model.safetensors").rename(copy / "model-00001-of-00001.safetensors")
    (copy / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    (copy / "pytorch_model.bin").write_bytes(b"not what is loaded")
    names = [*names[:2], "model.safetensors.index.json", "model-00001-of-00001.safetensors"]
    assert bert_hashes(str(copy)) == {name: digest(copy / name) for name in names}
    before = bert_hashes(str(copy))
    (copy / names[-1]).write_bytes(b"other weights")
    after = bert_hashes(str(copy))
    assert {name for name in names if before[name] != after[name]} == {names[-1]}
    for path in (copy / names[2], copy / names[3], copy / "pytorch_model.bin"):
        path.unlink()
    assert list(bert_hashes(str(copy))) == names[:2]  # random weights have no hash


def test_gradients_reach_bert_and_not_padding(folder: Path) -> None:
    encoder = an_encoder(folder)
    ids, lens = torch.tensor([[2, 5, 3, 9], [2, 6, 10, 3]]), torch.tensor([3, 4])
    (encoder(ids, lens).vectors * torch.randn(8)).sum().backward()
    slope = encoder.bert.embeddings.word_embeddings.weight.grad
    assert slope[5].abs().sum() > 0
    assert slope[9].abs().sum() == 0  # beyond the first caption's length


def test_a_caption_too_long_for_bert_is_refused(folder: Path) -> None:
    ids = torch.full((1, LONGEST + 1), 5)
    with pytest.raises(InputError, match=f"{LONGEST} or fewer"):
        an_encoder(folder)(ids, torch.tensor([LONGEST + 1]))


def test_weights_that_leave_bert_empty_are_refused(folder: Path, tmp_path: Path) -> None:
    """The library would go on from random numbers, and the model would match by chance."""
    copy = tmp_path / "bert"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    renamed = {f"module.{k}": v for k, v in weights.items()}
    save_file(renamed, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="incomplete"):
        an_encoder(copy)
    del weights["bert.encoder.layer.0.attention.self.key.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"self\.key\.weight"):
        an_encoder(copy)


@pytest.mark.parametrize("damage", ["cut", "size"])
def test_damaged_weights_are_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "bert"
    shutil.copytree(folder, copy)
    path = copy / "model.safetensors"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        weights = load_file(path)
        name = "bert.embeddings.word_embeddings.weight"
        weights[name] = weights[name][:, :-1].contiguous()
        save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match="do not load"):
        an_encoder(copy)


def test_a_folder_without_weights_starts_at_random_and_says_so(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("config.json", "vocab.txt"):
        shutil.copy(folder / name, tmp_path)
    with caplog.at_level(logging.WARNING, "itm_core"):
        an_encoder(folder)
        assert not [r for r in caplog.records if r.name.startswith("itm_core")]
        encoder = an_encoder(tmp_path)
    assert "holds no weights" in caplog.text
    assert encoder(torch.tensor([[2, 5, 3]]), torch.tensor([3])).vectors.shape == (1, 3, 8)


@pytest.mark.parametrize("missing", ["config.json", "vocab.txt"])
def test_a_folder_without_a_model_is_refused(folder: Path, tmp_path: Path, missing: str) -> None:
    copy = tmp_path / "bert"
    shutil.copytree(folder, copy)
    (copy / missing).unlink()
    with pytest.raises(InputError, match=missing):
        an_encoder(copy)


def test_without_a_folder_or_the_library_the_remedy_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="hf download"):
        make_word_encoder(0, EncoderSettings(text_encoder="bert"))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match="pip install"):
        an_encoder(folder)


def test_the_installed_bert_is_found_without_its_code(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package of the installed one's name, whose code would fail if it were imported."""
    package = tmp_path / INSTALLED["minilm"]
    shutil.copytree(folder, package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('executed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    assert bert_folder("minilm") == package / "model"
    ids, lens = torch.tensor([[2, 5, 6, 3]]), torch.tensor([4])
    found, same = (an_encoder(name)(ids, lens) for name in ("minilm", folder))
    assert torch.equal(found.vectors, same.vectors)
    shutil.rmtree(package / "model")
    with pytest.raises(InputError, match="no BERT model here"):
        bert_folder("minilm")


def test_an_installed_bert_that_is_missing_names_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(word_pieces, "find_spec", lambda name: None)
    with pytest.raises(InputError) as refused:
        bert_folder("minilm")
    command = 'pip install "itm-core[bert]"'
    assert str(refused.value) == f'encoder.bert=minilm needs the extra "bert": {command}'


def test_word_pieces_by_hand(folder: Path) -> None:
    words = WordPieces(folder)
    assert len(words) == len(PIECES)
    assert words.mask == 4
    assert words.encode("A man riding zebras.") == [2, 5, 6, 7, 8, 1, 11, 3]
    assert words.pieces("A man riding zebras.") == ["a", "man", "rid", "##ing", "[UNK]", "."]
    assert words.tokens("A man riding zebras.") == ["a", "man", "riding", "zebras", "."]
    assert words.unknown("A man riding zebras.") == [False] * 3 + [True, False]
    assert words.word_rows("A man riding zebras.") == [0, 1, 2, 3, 3, 4, 5, 6]
    assert words.units("A man riding zebras.") == [[5], [6], [7, 8], [1], [11]]
    assert words.units("man's horse") == [[6], [12], [13], [10]]  # punctuation parts words


@pytest.mark.parametrize(
    ("caption", "words", "rows"),
    [
        ("man's horse", ["man", "'s", "horse"], [1, 2, 2, 3]),  # man ' s horse
        ('  a "man"', ["a", "``", "man", "''"], [1, 2, 3, 4]),  # quotes are rewritten in two signs
        ("horse-man. A man.", ["horse-man", ".", "a", "man", "."], [1, 1, 1, 2, 3, 4, 5]),
        ("a cannot man", ["a", "can", "not", "man"], [1, 2, 4]),  # one piece of two words
        ("\u00c1 man", ["\u00c1", "man"], [1, 2]),  # read without its accent
    ],
)
def test_pieces_find_the_words_that_people_annotate(
    folder: Path, caption: str, words: list[str], rows: list[int]
) -> None:
    pieces = WordPieces(folder)
    assert pieces.tokens(caption) == words
    assert pieces.word_rows(caption) == [0, *rows, len(words) + 1]


def test_a_caption_of_nothing_has_no_units(folder: Path) -> None:
    assert WordPieces(folder).encode("\u200b") == [2, 3]
    assert WordPieces(folder).units("\u200b") == []
