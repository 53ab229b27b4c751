"""What `load_run` takes for a run, and which vocabulary imported weights get."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from itm_book.checkpoints.imported_runs import load_members, load_run
from itm_book.checkpoints.importing import import_checkpoint
from itm_core.cli import main
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset
from tests.places import GOLDEN

FILES = GOLDEN / "checkpoints"
DATASET = FILES / "dataset"
WORDS = 42


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SCAN's file (42 rows) and RCAR's (43: one for <mask>), imported."""
    place = tmp_path_factory.mktemp("imported")
    import_checkpoint(FILES / "scan_t2i_lse.pth.tar", place / "scan")
    import_checkpoint(FILES / "rcar_t2i_coop2.pth", place / "rcar")
    return place


def vocabulary(path: Path, words: int) -> Path:
    ids = [f"w{k}" for k in range(words - 4)]
    Vocabulary.from_captions(ids, threshold=1).save(path)
    return path


def test_imported_weights_take_the_datasets_vocabulary(place: Path) -> None:
    for name in ("scan", "rcar"):
        found = load_run(place / name, dataset=DATASET).vocabulary
        assert found.ids == Vocabulary.load(DATASET / "vocab.json").ids


def test_a_file_that_is_named_comes_first(place: Path, tmp_path: Path) -> None:
    file = vocabulary(tmp_path / "own.json", WORDS)
    assert "w0" in load_run(place / "scan", dataset=DATASET, vocabulary=file).vocabulary.ids
    own = tmp_path / "with_words"
    import_checkpoint(FILES / "scan_t2i_lse.pth.tar", own, vocabulary=file)
    assert "w0" in load_run(own, dataset=DATASET).vocabulary.ids
    assert "w0" in load_run(own).vocabulary.ids
    named = load_run(own, vocabulary=DATASET / "vocab.json")
    assert "wooden" in named.vocabulary.ids


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("scan", 41, r"expected 42 words for the 42 rows.*found 41 words.*--vocabulary FILE"),
        ("scan", 43, r"expected 42 words for the 42 rows.*found 43 words"),
        ("rcar", 43, r"expected 42 words for the 43 rows.*one of them for <mask>, found 43 words"),
    ],
)
def test_a_vocabulary_of_another_size_is_refused(
    name: str,
    words: int,
    said: str,
    place: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = vocabulary(tmp_path / "other.json", words)
    with pytest.raises(InputError, match=said):
        load_run(place / name, vocabulary=file)
    shutil.copytree(DATASET, tmp_path / "data")
    shutil.copy(file, tmp_path / "data" / "vocab.json")
    out = tmp_path / "out"
    for given in (
        ["score", str(place / name), str(tmp_path / "data"), "--out", str(out)],
        ["score", str(place / name), str(DATASET), "--vocabulary", str(file), "--out", str(out)],
        ["index", str(DATASET), str(out), "--run", str(place / name), "--vocabulary", str(file)],
    ):
        assert main(given) == 2
        assert "does not fit the checkpoint" in capsys.readouterr().err
        assert not out.exists()
    source = FILES / {"scan": "scan_t2i_lse.pth.tar", "rcar": "rcar_t2i_coop2.pth"}[name]
    assert main(["import", str(source), "--folder", str(out), "--vocabulary", str(file)]) == 2
    assert not out.exists()


def test_without_a_vocabulary_file_ids_mean_nothing(place: Path, tmp_path: Path) -> None:
    shutil.copytree(DATASET, tmp_path / "data")
    (tmp_path / "data" / "vocab.json").unlink()
    with pytest.raises(InputError, match="neither the checkpoint nor the dataset"):
        load_run(place / "scan", dataset=tmp_path / "data")
    with pytest.raises(InputError, match="no dataset here"):
        load_run(place / "scan", dataset=tmp_path / "absent")
    with pytest.raises(InputError, match="imported weights have no vocabulary"):
        _ = load_run(place / "scan").vocabulary


def test_a_configuration_says_what_the_weights_take(place: Path) -> None:
    config = json.loads((place / "rcar" / "config.json").read_text())
    assert (config["feature_width"], config["embedding_rows"]) == (24, 43)
    assert config["imported"]["file"] == "rcar_t2i_coop2.pth"
    assert len(config["imported"]["sha256"]) == 64
    run = load_run(place / "rcar")
    for unknown in ("scores", "metrics"):
        with pytest.raises(InputError, match="no scores of a test split"):
            getattr(run, unknown)
    assert run.curve.empty


def test_other_runs_have_their_own_vocabulary(place: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "micro")
    run = runs.train_or_load(
        data, "scan-t2i-mean", overrides=SMALL, root=tmp_path, device="cpu", progress=False
    )
    assert load_run(run.folder, dataset=DATASET).vocabulary.ids == run.vocabulary.ids
    with pytest.raises(InputError, match="has its own vocabulary"):
        load_run(run.folder, vocabulary=DATASET / "vocab.json")
    with pytest.raises(InputError, match="has its own vocabulary"):
        load_members([run.folder], vocabulary=DATASET / "vocab.json")
    both = load_members([run.folder, place / "scan"], vocabulary=DATASET / "vocab.json")
    assert "wooden" in both[1].vocabulary.ids
    with pytest.raises(InputError, match="named twice"):
        load_members([run.folder, place / "scan", run.folder / "."])
    with pytest.raises(InputError, match="no finished run here"):
        load_members([tmp_path / "none"])


def test_a_damaged_import_is_told_with_its_remedy(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.loads((place / "scan" / "config.json").read_text())
    configs: list[tuple[dict[str, object], str]] = [
        ({}, "no proper dataset, feature_width, region_count, seed, recipe, embedding_rows, imp"),
        (whole | {"feature_width": "24"}, "no proper feature_width"),
        (whole | {"recipe": {"name": "scan"}}, "no proper encoder of the recipe"),
        (whole | {"imported": {"file": "a"}}, "no proper spare_rows"),
    ]
    for k, (config, said) in enumerate(configs):
        shutil.copytree(place / "scan", tmp_path / str(k))
        (tmp_path / str(k) / "config.json").write_text(json.dumps(config))
        (tmp_path / str(k) / "files.json").unlink()  # as of an import before it was written
        with pytest.raises(InputError, match=rf"config\.json: .* damaged; found {said}"):
            load_run(tmp_path / str(k), dataset=DATASET)
    for name, file in (("weights", "best.safetensors"), ("account", "import.json")):
        shutil.copytree(place / "scan", tmp_path / name)
        (tmp_path / name / file).unlink()
    half = shutil.copytree(place / "scan", tmp_path / "half") / "best.safetensors"
    half.write_bytes(b"half")
    for name, told in (
        ("0", "the configuration is damaged"),
        ("weights", "best.safetensors: checkpoint not found"),
        ("account", "imported weights without import.json"),
        ("half", "not the file that this run was finished with"),
    ):
        out = tmp_path / f"{name}-scores"
        words = ["score", str(tmp_path / name), str(DATASET), "--device", "cpu"]
        assert main([*words, "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert told in said
        assert f"delete {tmp_path / name} and import the checkpoint again" in said
        assert name == "half" or not out.exists()


def test_where_no_run_is_the_remedy_is_to_name_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(tmp_path / "none"), str(DATASET)]) == 2
    said = capsys.readouterr().err
    assert "found no run. Remedy: name the folder of a run (itm runs lists them)" in said


def test_a_folder_is_no_vocabulary(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(place / "scan"), str(DATASET), "--out", str(tmp_path / "out")]
    assert main([*words, "--vocabulary", str(DATASET)]) == 2
    assert f"{DATASET}: not a file; found a folder, not a file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
