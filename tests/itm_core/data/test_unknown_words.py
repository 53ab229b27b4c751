"""Captions of mostly unknown words are not trained on, and a vocabulary can be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_book.search.sentences import require_sentence
from itm_core.cli import main
from itm_core.data import unknown_words
from itm_core.data.dataset import load_dataset
from itm_core.data.unknown_words import shares_text, unknown_share
from itm_core.data.vocabulary import Vocabulary
from itm_core.data.word_pieces import WordPieces
from itm_core.errors import InputError
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset

WORDS = Vocabulary.from_captions(["a red ball ."], threshold=1)
SPLITS = ("train", "dev", "test")


def recaption(folder: Path, splits: tuple[str, ...], caption: str) -> None:
    """Give splits other captions; ``{k}`` stands for the number of the caption modulo 20."""
    for split in splits:
        lines = "".join(caption.format(k=k % 20, split=split) + "\n" for k in range(60))
        (folder / f"{split}_caps.txt").write_text(lines, encoding="utf-8")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "micro")


def train(dataset: Path, *more: str) -> list[str]:
    changes = [word for change in (*SMALL, *more) for word in ("--set", change)]
    given = ["train", "--dataset", str(dataset), "--recipe", "scan-t2i-mean", "--device", "cpu"]
    return [*given, "--root", str(dataset.parent / "runs"), *changes]


@given(st.lists(st.lists(st.sampled_from(["red", "ball", "cat", "on"]), min_size=1), min_size=1))
def test_the_share_is_counted(captions: list[list[str]]) -> None:
    tokens = [token for caption in captions for token in caption]
    share = sum(token in ("cat", "on") for token in tokens) / len(tokens)
    assert unknown_share(WORDS, [" ".join(caption) for caption in captions]) == pytest.approx(share)


def test_shares_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    captions = ["a red cat .", "a dog", "red", "cat", "ball"]
    assert unknown_share(WORDS, captions) == pytest.approx(3 / 8)
    assert unknown_share(WORDS, []) == 0.0
    monkeypatch.setattr(unknown_words, "SAMPLED", 3)  # the first, the middle, and the last one
    assert unknown_share(WORDS, captions) == pytest.approx(1 / 5)
    assert unknown_share(WORDS, captions, full=True) == pytest.approx(3 / 8)
    assert shares_text({"train": 0.0, "test": 1 / 3}) == "train 0.0 %, test 33.3 %"


def test_a_small_dataset_is_refused_until_it_has_a_vocabulary(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recaption(dataset, SPLITS, "one{k} two{k}")  # each word stands three times, and needs four
    for command in (["check", str(dataset)], train(dataset)):
        assert main(command) == 2
        printed = capsys.readouterr()
        assert "train_caps.txt: most words of the train split are unknown" in printed.err
        assert "found train 100.0 %, dev 100.0 %, test 100.0 %" in printed.err
        assert f"itm data vocab {dataset} --threshold 1" in printed.err
        assert len(printed.err.strip().splitlines()) == 1
        assert "60 captions, 100.0 % of words unknown" in printed.out or command[0] == "train"
    with pytest.raises(InputError, match="most words of the train split"):
        runs.train_or_load(dataset, "scan-t2i-mean", root=dataset.parent / "runs", device="cpu")
    assert not (dataset.parent / "runs").exists()

    assert main(["data", "vocab", str(dataset), "--threshold", "4"]) == 2
    assert "most words of the train split" in capsys.readouterr().err
    assert not (dataset / "vocab.json").exists()
    assert main(["data", "vocab", str(dataset), "--threshold", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{dataset / 'vocab.json'}: 44 words"  # 40, and the special four
    assert lines[1:] == [f"{split}: 0.0 % of words unknown" for split in SPLITS]
    assert main(["check", str(dataset)]) == 0
    assert "60 captions, 0.0 % of words unknown" in capsys.readouterr().out
    assert main(train(dataset)) == 0


def test_one_half_is_not_too_much(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recaption(dataset, ("train",), "red ball")
    recaption(dataset, ("test",), "red cat ball dog")
    recaption(dataset, ("dev",), "cat dog")  # only reported
    assert main(["check", str(dataset)]) == 0
    printed = capsys.readouterr().out
    assert "60 captions, 50.0 % of words unknown" in printed
    assert "60 captions, 100.0 % of words unknown" in printed
    recaption(dataset, ("test",), "red cat ball dog cat")
    assert main(["check", str(dataset)]) == 2
    assert "most words of the test split are unknown" in capsys.readouterr().err


def test_punctuation_is_no_known_word(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recaption(dataset, SPLITS, "หมาสีแดงกำลังวิ่ง{k}{split} .")  # half of the tokens are full stops
    assert main(["check", str(dataset)]) == 2
    assert "found train 100.0 %, dev 100.0 %, test 100.0 %" in capsys.readouterr().err


def test_a_language_without_spaces_is_refused(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recaption(dataset, SPLITS, "หมาสีแดงกำลังวิ่ง{k}{split}")
    assert main(train(dataset)) == 2
    assert "put spaces between the words" in capsys.readouterr().err
    assert main(["data", "vocab", str(dataset), "--threshold", "1"]) == 2
    printed = capsys.readouterr().err
    assert "most words of the test split are unknown" in printed
    assert "found train 0.0 %, dev 100.0 %, test 100.0 %" in printed
    assert not (dataset / "vocab.json").exists()
    recaption(dataset, SPLITS, "หมา สี แดง กำลัง วิ่ง")
    assert main(["check", str(dataset)]) == 0


@pytest.mark.parametrize("place", ["vocab.json", "micro_vocab.json", "../vocab/micro_vocab.json"])
def test_a_vocabulary_is_only_replaced_on_request(
    dataset: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    path = dataset / place
    path.parent.mkdir(exist_ok=True)
    WORDS.save(path)
    before = path.read_bytes()
    assert main(["data", "vocab", str(dataset), "--threshold", "1"]) == 2
    printed = capsys.readouterr().err
    assert f"{path.name}: the dataset has a vocabulary" in printed
    assert "--replace" in printed
    assert path.read_bytes() == before
    assert (dataset / "vocab.json").exists() == (place == "vocab.json")
    assert main(["data", "vocab", str(dataset), "--threshold", "1", "--replace"]) == 0
    captions = (dataset / "train_caps.txt").read_text().splitlines()
    expected = Vocabulary.from_captions(captions, threshold=1).ids
    assert Vocabulary.load(dataset / "vocab.json").ids == expected
    assert load_dataset(dataset).vocabulary.ids == expected


def test_what_is_no_threshold_or_dataset(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "vocab", str(dataset), "--threshold", "0"]) == 2
    assert "--threshold: expected a whole number, 1 or more" in capsys.readouterr().err
    assert main(["data", "vocab", str(tmp_path / "none")]) == 2
    assert "no train split here" in capsys.readouterr().err


def bert(folder: Path, words: str) -> Path:
    pytest.importorskip("transformers")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words.split()]
    folder.mkdir()
    sizes = '"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2'
    given = f'"intermediate_size": 8, "vocab_size": {len(pieces)}, {sizes}'
    (folder / "config.json").write_text(f'{{"model_type": "bert", {given}}}')
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return folder


def test_pieces_count_like_words(dataset: Path, tmp_path: Path) -> None:
    pieces = WordPieces(bert(tmp_path / "small", "a . run ##s red"))
    assert pieces.unknown_words("A Red Zebra runs; Zebra!") == ["Zebra"]
    assert unknown_share(pieces, ["a red zebra", "runs"]) == pytest.approx(1 / 4)
    assert require_sentence(pieces, "a red zebra") == ["zebra"]
    with pytest.raises(InputError, match="no word of the sentence is in.*unknown: zebra, cat"):
        require_sentence(pieces, "zebra, cat")
    root = tmp_path / "runs"
    changes = (f"encoder.bert={bert(tmp_path / 'foreign', '一 只 狗')}", "training.epochs=1")
    with pytest.raises(InputError, match="train split are unknown.*use a BERT model"):
        runs.train_or_load(
            dataset, "chan-bert-smoke", overrides=(*SMALL, *changes), root=root, progress=False
        )
    assert not root.exists()


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("", "no sentence to search with.*found ''"),
        (" . !", "no sentence to search with.*found ' . !'"),
        ("zebra", "no word of the sentence is in.*found unknown: zebra"),
        (
            "Zebras see zebras.",
            "no word of the sentence is in.*found unknown: zebras, see",
        ),
        ("ball " * 201, "the sentence is too long; expected 1 to 200 words, found 201"),
    ],
)
def test_sentences_that_are_refused(sentence: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require_sentence(WORDS, sentence)


def test_unknown_words_of_a_sentence_are_returned() -> None:
    assert require_sentence(WORDS, "A red ball.") == []
    assert require_sentence(WORDS, "a zebra and a cat and a ball") == ["zebra", "and", "cat"]
    assert require_sentence(WORDS, "a zebra") == ["zebra"]


def test_chinese_needs_no_spaces(dataset: Path) -> None:
    recaption(dataset, SPLITS, "一只红色的狗在跑")
    assert main(["check", str(dataset)]) == 0
