"""Runs with BERT: a tiny one of random weights, and the installed one where it is installed."""

from __future__ import annotations

import hashlib
import json
import socket
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from itm_book.datasets.run_features import run_features
from itm_book.pairs import word_maps
from itm_book.pairs.pair_records import pair_record
from itm_core.data.dataset import Split, load_dataset, load_split
from itm_core.data.vocabulary import tokenise
from itm_core.data.word_pieces import INSTALLED, WordPieces, bert_hashes
from itm_core.evaluation.attention_measures import measure
from itm_core.experiments import runs
from itm_core.models.pairing import Matched
from itm_core.training import trainer
from itm_core.training.gradients import Batch
from tests.micro import COLOURS, SMALL, THINGS, write_dataset

pytest.importorskip("transformers")

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] a . run ##s ba ##l".split()
PIECES += [word for word in (*COLOURS, *THINGS) if word != "ball"]  # which is ba ##l ##l


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny dataset; the third word of its captions names an object, its first region's box."""
    folder = write_dataset(tmp_path_factory.mktemp("data") / "micro")
    split = load_split(folder, "test")
    corners = np.array([[0, 0], [20, 0], [0, 20], [20, 20]])
    boxes = np.concatenate([corners, corners + 10], axis=1).astype(np.float32)
    np.save(folder / "test_boxes.npy", np.repeat(boxes[None], len(split.regions), axis=0))
    words = [[{"objects": [0]} if k == 2 else None for k in range(len(tokenise(c)))]
             for c in split.captions]  # fmt: skip
    (folder / "test_words.json").write_text(json.dumps(words))
    objects = [{"objects": [{"box": [0, 0, 10, 10]}]}] * len(split.regions)
    (folder / "test_objects.json").write_text(json.dumps(objects))
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = {"model_type": "bert", "intermediate_size": 8, "vocab_size": len(PIECES), **sizes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return folder


def train(dataset: Path, bert: Path | str, root: Path, recipe: str = "chan-bert-smoke") -> runs.Run:
    changes = (f"encoder.bert={bert}", "training.token_dropout=0.2", "training.epochs=2")
    return runs.train_or_load(
        dataset, recipe, overrides=(*SMALL, *changes), root=root, device="cpu", progress=False
    )


@pytest.fixture(scope="module")
def run(dataset: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    return train(dataset, bert, tmp_path_factory.mktemp("runs"))


def test_a_run_names_the_files_of_its_bert(run: runs.Run, bert: Path) -> None:
    names = ("config.json", "vocab.txt")
    digests = {name: hashlib.sha256((bert / name).read_bytes()).hexdigest() for name in names}
    assert run.config["bert"] == digests
    assert (run.folder / "vocab.txt").read_bytes() == (bert / "vocab.txt").read_bytes()


def test_other_weights_are_another_run(run: runs.Run, dataset: Path) -> None:
    config = runs.configuration(load_dataset(dataset), run.recipe, 0)
    assert runs.folder_of(config).name == run.folder.name
    config["bert"] = config["bert"] | {"model.safetensors": "0" * 64}
    assert runs.folder_of(config).name != run.folder.name


def word_weights(run: runs.Run, split: Split, caption: int) -> torch.Tensor:
    """Attention ``[W, R]`` of a caption on its image, pieces averaged word by word in a loop."""
    matcher, ids = run.matcher(), run.vocabulary.encode(split.captions[caption])
    image = int(split.caption_image[caption])
    features = torch.from_numpy(np.array(run_features(run, split)[[image]]))
    with torch.no_grad():
        words = matcher.words(torch.tensor([ids]), torch.tensor([len(ids)]))
        (attention,) = matcher.attend(Matched(matcher.regions(features), words))
    weights, place, rows = attention.weights[0, :, 0], 1, []
    for word in tokenise(split.captions[caption]):
        count = {"ball": 3, "runs": 2}.get(word, 1)
        rows.append(sum(weights[place + k] for k in range(count)) / count)
        place += count
    assert place == len(ids) - 1
    return torch.stack(rows)


def test_attention_is_that_of_words(run: runs.Run, dataset: Path) -> None:
    split = load_split(dataset, "test")
    caption = next(k for k, text in enumerate(split.captions) if "ball runs" in text)
    image = int(split.caption_image[caption])
    expected = word_weights(run, split, caption)
    maps = word_maps.explain(run, split, image, caption)
    record = pair_record(run, split, image, caption)
    assert maps.words == record.pair.words == tokenise(split.captions[caption])
    (side,) = record.directions
    for found in (maps.weights, side.weights[0]):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    for parts in (maps, record):
        assert parts.score == pytest.approx(run.scores[image, caption], abs=1e-6)
    for total in (maps.contribution.sum() + maps.remainder,
                  side.contribution.sum() + record.remainder):  # fmt: skip
        assert total == pytest.approx(maps.score, abs=1e-6)
    assert record.pair.true_boxes is not None
    assert [len(boxes) for boxes in record.pair.true_boxes][:4] == [0, 0, 1, 0]


def test_attention_quality_is_that_of_words(run: runs.Run, dataset: Path) -> None:
    split = load_split(dataset, "test")
    weights = torch.stack([word_weights(run, split, k)[2] for k in range(len(split.captions))])
    relevant = torch.tensor([[True, False, False, False]]).expand(len(weights), -1)
    quality = measure(weights, relevant, torch.full((len(weights),), 4))
    assert run.metrics["t2i_attention_f1"] == pytest.approx(quality.f1)
    assert run.metrics["t2i_attention_queries"] == len(split.captions)


def test_a_killed_training_ends_with_the_same_weights(
    run: runs.Run, dataset: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BERT's dropout and the dropping of words draw the same numbers after the kill."""
    step = trainer.Trainer._step
    taken: list[Batch] = []

    def killed(self: trainer.Trainer, batch: Batch) -> None:
        if len(taken) == 5:  # in the second epoch of four steps
            raise SystemExit("killed")
        taken.append(batch)
        step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(trainer.Trainer, "_step", killed)
        with pytest.raises(SystemExit):
            train(dataset, bert, tmp_path)
    torch.manual_seed(99)
    resumed = train(dataset, bert, tmp_path)
    assert len(taken) == 5
    assert resumed.folder.name == run.folder.name
    for name in ("best.safetensors", "last.safetensors"):
        straight, cut = (load_file(r.folder / name) for r in (run, resumed))
        assert straight.keys() == cut.keys()
        assert all(torch.equal(straight[key], cut[key]) for key in straight)
    assert np.array_equal(run.scores, resumed.scores)


@pytest.mark.skipif(find_spec(INSTALLED["minilm"]) is None, reason="not installed")
def test_the_installed_bert_trains_without_a_network(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("network"))
    run = train(dataset, "minilm", tmp_path)
    weights = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert run.config["bert"]["model.safetensors"] == weights
    assert run.config["bert"] == bert_hashes("minilm")
    pieces = WordPieces("minilm")
    assert len(pieces) == 30522
    caption = "Two skateboarders aren't wearing t-shirts."
    assert pieces.pieces(caption)[1:4] == ["skate", "##board", "##ers"]
    words = ["two", "skateboarders", "are", "n't", "wearing", "t-shirts", "."]
    assert pieces.tokens(caption) == words
    assert pieces.word_rows(caption) == [0, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6, 6, 7, 8]
