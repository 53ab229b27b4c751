"""Caption files as Kaggle, BLIP and Flickr8k-CN have them, each from lines of its form."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from itm_book.datasets.caption_sources import Captioned, read_captioned
from itm_book.datasets.caption_texts import read_rows
from itm_core.errors import InputError

KAGGLE_8K = """image,caption
1000268201_693b08cb0e.jpg,A child in a pink dress .
1000268201_693b08cb0e.jpg,"A child , ""Amy"" , climbs ."
1001773457_577c3a7d70.jpg,Two dogs
"""
KAGGLE_30K = """image_name| comment_number| comment
1000092795.jpg| 0| Two young guys , one | two .
1000092795.jpg| 1| "Quoted" words .
2199200615.jpg| 4   A dog runs across the grass .
"""
HUGGING_FACE = """raw,sentids,split,filename,img_id
"[""A man ."", ""A boy , running .""]","[0, 1]",train,1000092795.jpg,0
"[""A dog .""]",[2],val,10002456.jpg,1
"""
CHINESE = """1000268201_693b08cb0e.jpg#zhb#0 穿着粉红色连衣裙的孩子爬上楼梯。
1000268201_693b08cb0e.jpg#zhb#1 一个女孩走进一个木结构。
1001773457_577c3a7d70.jpg#zhb#0 两只狗
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_flickr8k_of_kaggle(tmp_path: Path, mark: str) -> None:
    found = read_captioned(written(tmp_path, "captions.txt", mark + KAGGLE_8K), "train")
    assert found == [
        Captioned(
            "1000268201_693b08cb0e",
            "train",
            ("A child in a pink dress .", 'A child , "Amy" , climbs .'),
        ),
        Captioned("1001773457_577c3a7d70", "train", ("Two dogs",)),
    ]


def test_flickr30k_of_kaggle_with_its_broken_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = read_captioned(written(tmp_path, "results.csv", KAGGLE_30K), "test")
    assert found[0].captions == ("Two young guys , one | two .", '"Quoted" words .')
    assert found[1] == Captioned("2199200615", "test", ("A dog runs across the grass .",))
    assert "results.csv, row 4: no | before the caption" in caplog.text


def test_a_table_with_splits_and_lists(tmp_path: Path) -> None:
    path = written(tmp_path, "flickr_annotations_30k.csv", HUGGING_FACE)
    assert read_captioned(path) == [
        Captioned("1000092795", "train", ("A man .", "A boy , running .")),
        Captioned("10002456", "dev", ("A dog .",)),
    ]
    with pytest.raises(InputError, match="has splits of its own"):
        read_captioned(path, "train")
    own = written(tmp_path, "own.csv", "image,caption,split\n1.jpg,A man .,dev\n")
    assert read_captioned(own) == [Captioned("1", "dev", ("A man .",))]
    twice = written(tmp_path, "twice.csv", own.read_text() + "1.jpg,A man .,train\n")
    with pytest.raises(InputError, match="key '1'; found one of the dev split and one of the tr"):
        read_captioned(twice)


def test_flickr8k_cn(tmp_path: Path) -> None:
    found = read_captioned(written(tmp_path, "flickr8kzhb.caption.txt", CHINESE), "train")
    assert [(image.image, len(image.captions)) for image in found] == [
        ("1000268201_693b08cb0e", 2),
        ("1001773457_577c3a7d70", 1),
    ]
    assert found[1].captions == ("两只狗",)
    twice = written(tmp_path, "twice.txt", CHINESE + CHINESE.splitlines()[0])
    with pytest.raises(InputError, match="two captions share the key.*row 1 and row 4"):
        read_captioned(twice, "train")


def test_lists_of_blip(tmp_path: Path) -> None:
    entries = [
        {"image": "val2014/COCO_val2014_000000391895.jpg", "caption": ["A man .", "A rider ."]},
        {
            "image": "train2014/COCO_train2014_000000000009.jpg",
            "caption": "Food .",
            "image_id": "9",
        },
        {"image": "val2014/COCO_val2014_000000391895.jpg", "caption": "Third ."},
    ]
    path = written(tmp_path, "coco_karpathy_test.json", json.dumps(entries))
    assert read_captioned(path, "test") == [
        Captioned("391895", "test", ("A man .", "A rider .", "Third .")),
        Captioned("9", "test", ("Food .",)),
    ]
    with pytest.raises(InputError, match="this file has no splits"):
        read_captioned(path)
    path.write_text(json.dumps([{"image": "1.jpg"}]))
    with pytest.raises(InputError, match="an object without a caption; .*found image"):
        read_captioned(path, "test")
    path.write_text(json.dumps(["a dog"]))
    with pytest.raises(InputError, match="not an object; .*found 'a dog'"):
        read_captioned(path, "test")


@pytest.mark.parametrize("name", ["metadata.jsonl", "captions.NDJSON"])
def test_json_lines_of_the_hub(tmp_path: Path, name: str) -> None:
    rows = [
        {"file_name": "2.jpg", "text": "A dog\u2028runs ."},
        {"file_name": "1.jpg", "text": "Food ."},
        {"file_name": "2.jpg", "text": "Third ."},
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path = written(tmp_path, name, "\ufeff" + lines[0] + "\r\n\n" + "\n".join(lines[1:]))
    assert read_captioned(path, "train") == [
        Captioned("2", "train", ("A dog runs .", "Third .")),
        Captioned("1", "train", ("Food .",)),
    ]
    split = {"image": "3.jpg", "captions": ["A .", "B ."], "split": "val"}
    path.write_text(json.dumps(split))
    assert read_captioned(path) == [Captioned("3", "dev", ("A .", "B ."))]
    path.write_text('\n{"image": "3.jpg", "caption": "A ."}\n{"image": "4.j')
    with pytest.raises(InputError, match=r"row 3: not readable as JSON.*ends in the middle"):
        read_captioned(path, "train")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "1.jpg,a dog\n", "row 1: no header that names an image and a caption"),
        (
            "a.csv",
            "image,caption,split\n1.jpg,a dog\n",
            "row 2: .*expected 3: image, caption, split",
        ),
        ("a.csv", 'image,caption\n1.jpg,"a dog\n2.jpg,b', "row 2: not a row of a table"),
        ("a.txt", "image,caption\n1.jpg,\n", "an empty caption of image 1"),
        ("a.txt", "a dog\n", "row 1: no image before the caption"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_captioned(written(tmp_path, name, text), "train")


def test_lines_are_split_at_their_tab(tmp_path: Path) -> None:
    """A number may follow the name or be a cell, and a name may look like a numbered one."""
    text = """Holiday #3 beach.jpg\tA dog on a beach
1.jpg\t0\tA dog
1.jpg\t1\tTwo dogs\trun
Holiday #4 sea.jpg#0\tThe sea
Holiday #4 sea.jpg#1 A boat
2.jpg#0\t3\tdogs
"""
    assert read_captioned(written(tmp_path, "lines.txt", text), "train") == [
        Captioned("Holiday #3 beach", "train", ("A dog on a beach",)),
        Captioned("1", "train", ("A dog", "Two dogs run")),
        Captioned("Holiday #4 sea", "train", ("The sea", "A boat")),
        Captioned("2", "train", ("3 dogs",)),
    ]


@pytest.mark.parametrize(
    ("text", "captions"),
    [
        ("1.jpg\t2\tdogs\n1.jpg\t2\tcats\n", ("dogs", "cats")),
        ("1.jpg\t2\tdogs\n1.jpg\tA dog\truns\n", ("2 dogs", "A dog runs")),
        ("1.jpg\t0\tA dog\n1.jpg\tTwo dogs\n", ("A dog", "Two dogs")),
    ],
)
def test_a_second_cell_is_a_number_where_all_are(
    tmp_path: Path, text: str, captions: tuple[str, ...]
) -> None:
    found = read_captioned(written(tmp_path, "lines.txt", text), "train")
    assert found == [Captioned("1", "train", captions)]


@pytest.mark.parametrize(
    ("line", "image", "caption"),
    [
        ("12345#0 \tA dog", "12345", "A dog"),
        ("12345#zhb#0 \tA dog", "12345", "A dog"),
        ("rsicd_31#zhb#0 a dog\tand cat", "rsicd_31", "a dog and cat"),
        ("Holiday #3 beach.jpg\tA dog", "Holiday #3 beach", "A dog"),
    ],
)
def test_a_number_ends_the_name(tmp_path: Path, line: str, image: str, caption: str) -> None:
    found = read_captioned(written(tmp_path, "lines.txt", line + "\n"), "train")
    assert found == [Captioned(image, "train", (caption,))]


@pytest.mark.parametrize("names", [("1.jpg", "2.JPG"), ("101", "102")])
def test_a_header_of_other_words_is_no_image(tmp_path: Path, names: tuple[str, ...]) -> None:
    lines = "".join(f"{name}\t{k}\tA dog\n" for k, name in enumerate(names))
    path = written(tmp_path, "lines.tsv", f"file\tnumber\tdescription\n{lines}")
    with pytest.raises(InputError, match="row 1: no header that names an image.*found file"):
        read_captioned(path, "train")
    assert len(read_captioned(written(tmp_path, "lines.tsv", lines), "train")) == 2


def test_names_without_endings_are_images(tmp_path: Path) -> None:
    path = written(tmp_path, "lines.txt", "beach\tThe sea\nbeach_2\tA boat\n")
    assert [image.image for image in read_captioned(path, "train")] == ["beach", "beach_2"]


@pytest.mark.parametrize("caption", ['"A dog\t, a cat"', '"A dog\n runs"'])
def test_quotes_between_tabs_are_not_advised(tmp_path: Path, caption: str) -> None:
    path = written(tmp_path, "c.tsv", f"caption\timage\nA cat\t1.jpg\n{caption}\t2.jpg\n")
    with pytest.raises(InputError, match="row 3: a row has another number.*with commas"):
        read_captioned(path, "train")


def test_names_of_coco_cn_end_before_their_number(tmp_path: Path) -> None:
    line = "COCO_val2014_000000043734#zhb#0 a dog\tand cat"
    (row,) = read_rows(written(tmp_path, "lines.txt", line))
    assert row == ("COCO_val2014_000000043734", None, "a dog\tand cat", 1)


def test_the_image_that_flickr8k_does_not_have_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (
        "1.jpg#0\tA dog\n2258277193_586949ec62.jpg.1#0\tPeople\n2258277193_586949ec62.jpg#0\tMen\n"
    )
    with caplog.at_level(logging.INFO):
        found = read_captioned(written(tmp_path, "Flickr8k.token.txt", text), "train")
    assert [image.image for image in found] == ["1", "2258277193_586949ec62"]
    assert found[1].captions == ("Men",)
    assert "left out: 1 captions of 2258277193_586949ec62.jpg.1" in caplog.text


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("delimiter", ["\t", "|", ",", ";"])
def test_tables_of_pandas_are_read_as_they_were(
    tmp_path: Path, delimiter: str, quoting: Literal[0, 1]
) -> None:
    captions = ['A sign says "stop" .', "a, b | c; d", '"Quoted" words .', 'Twelve " wide']
    table = pd.DataFrame({"image": [f"{k}.jpg" for k in range(4)], "caption": captions})
    table.to_csv(tmp_path / "x.tsv", sep=delimiter, quoting=quoting, index=False)
    found = read_captioned(tmp_path / "x.tsv", "train")
    assert [image.image for image in found] == ["0", "1", "2", "3"]
    assert [image.captions for image in found] == [(caption,) for caption in captions]


def test_lists_in_cells_are_several_captions(tmp_path: Path) -> None:
    captions = ["A dog runs .", "It's a \"red\" dog , isn't it ?", "Two\\three ."] * 3
    lists = [captions, np.array(captions), json.dumps(captions)]
    for cell in lists:
        pd.DataFrame({"image": ["1.jpg"], "captions": [cell]}).to_csv(tmp_path / "c.csv")
        found = read_captioned(tmp_path / "c.csv", "train")
        assert found == [Captioned("1", "train", tuple(captions))]


@pytest.mark.parametrize("cell", ["['A dog .', 'A cat .]", "['A dog .' + x]", "['A dog .', 3]"])
def test_a_cell_that_is_almost_a_list_is_named(tmp_path: Path, cell: str) -> None:
    path = written(tmp_path, "c.csv", f'image,caption\n1.jpg,A dog\n2.jpg,"{cell}"\n')
    with pytest.raises(InputError, match=r"c\.csv, row 3: a cell that looks like a list"):
        read_captioned(path, "train")


@pytest.mark.parametrize("name", ["val", "Validation", "valid", "dev"])
def test_other_names_of_the_dev_split(tmp_path: Path, name: str) -> None:
    plain = written(tmp_path, "captions.csv", "image,caption\n1.jpg,A dog\n")
    own = written(tmp_path, "own.csv", f"image,caption,split\n1.jpg,A dog,{name}\n")
    whole = written(tmp_path, "karpathy.json", json.dumps(karpathy(split=name)))
    for path, split in ((plain, name), (own, None), (whole, None)):
        assert [image.split for image in read_captioned(path, split)] == ["dev"]


def test_remedies_for_splits_are_of_both_commands(tmp_path: Path) -> None:
    path = written(tmp_path, "captions.csv", "image,caption\n1.jpg,A dog\n")
    both = r"add --split train, dev or test .*convert.* --captions train=captions.csv .*make"
    with pytest.raises(InputError, match=both):
        read_captioned(path)
    own = written(tmp_path, "karpathy.json", json.dumps(karpathy()))
    with pytest.raises(InputError, match=r"leave out --split .*convert.* name before = .*make"):
        read_captioned(own, "test")


def test_latin_1_is_named(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes("image,caption\n1.jpg,Ein Hund im Café\n".encode("latin-1"))
    with pytest.raises(InputError, match="row 2: not UTF-8.*iconv -f latin1"):
        read_captioned(path, "train")
    path.write_text("image,caption\n1.jpg,A dog\n", encoding="utf-16")  # of PowerShell's >
    with pytest.raises(InputError, match="row 1: not UTF-8.*iconv -f utf-16"):
        read_captioned(path, "train")


def test_blank_lines_hold_no_caption(tmp_path: Path) -> None:
    path = written(tmp_path, "results.token", "1.jpg#0\tA dog .\n\n1.jpg#1\tTwo .\n  \n")
    assert read_captioned(path, "train") == [Captioned("1", "train", ("A dog .", "Two ."))]


@pytest.mark.parametrize("caption", [None, float("nan"), 3, ["A dog .", None]])
def test_a_caption_that_is_not_text_is_named(tmp_path: Path, caption: object) -> None:
    karpathy = {"images": [{"filename": "2.jpg", "split": "test", "sentences": [{"raw": caption}]}]}
    coco = {
        "images": [{"id": 2, "file_name": "2.jpg"}],
        "annotations": [{"image_id": 2, "caption": caption}],
    }
    listed = [{"image": "1.jpg", "caption": "A cat ."}, {"image": "2.jpg", "caption": caption}]
    for content, split in ((listed, "test"), (coco, "test"), (karpathy, None)):
        path = written(tmp_path, "captions.json", json.dumps(content))
        with pytest.raises(InputError, match="a caption of image 2 is not a text"):
            read_captioned(path, split)


def karpathy(**changes: object) -> dict[str, object]:
    image = {"filename": "a.jpg", "split": "test", "sentences": [{"raw": "a dog"}], **changes}
    return {"images": [image]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (karpathy(sentences=[{"raw": 5}]), "a caption of image a is not a text"),
        (karpathy(sentences=[{"raw": None}]), "a caption of image a is not a text"),
        (karpathy(sentences=[{"raw": "\ud800"}]), "a caption of image a is not a text"),
        (karpathy(filename=""), "not a name of an image: it is empty"),
        (karpathy(filename="a\nb.jpg"), "not a name of an image: a line break"),
        ([{"image": "a.jpg", "caption": ["a dog", 5], "split": "test"}], "is not a text"),
        ([{"image": "a.jpg", "caption": {"raw": "x"}, "split": "test"}], "is not a text"),
        (
            [{"image": "a.jpg", "caption": [], "split": "test"}],
            "a caption of image a is not a text",
        ),
        ([{"image": None, "caption": "a dog", "split": "test"}], "not the name .* found None"),
        ([{"image": 12.0, "caption": "a dog", "split": "test"}], "not the name .* found 12.0"),
        (karpathy(filename=None), "not the name of an image"),
    ],
)
def test_names_and_captions_that_no_text_file_can_hold_are_refused(
    tmp_path: Path, content: object, problem: str
) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"captions\.json: .*{problem}"):
        read_captioned(path)


def test_a_caption_of_an_image_that_coco_does_not_list_is_named(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    annotations = [{"image_id": "7", "caption": "a dog"}]
    images = [{"id": 7, "file_name": "a.jpg"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    with pytest.raises(InputError, match=r"an image that is not listed; .*found image_id '7'"):
        read_captioned(path, "test")


def test_json_that_is_nested_too_deeply_is_not_readable(tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="not readable as JSON"):
        read_captioned(path)


A, B = '{"file_name": "1.jpg", "text": "A dog ."}', '{"file_name": "2.jpg", "text": "A cat ."}'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", f"{A}\n3\n", "row 2: not an object.*found 3"),
        ("a.jsonl", f'{A}\n{{"key": "2", "caption": "a"}}', "row 2: .*without an image.*key, cap"),
        ("a.jsonl", '{"filename": "1.jpg", "sentences": []}', "row 1: .*without a caption"),
        ("a.jsonl", '{"image": {"path": "1.jpg"}, "text": "a"}', "row 1: not the name of an image"),
        ("a.jsonl", '{"image": "1.jpg", "text": "a", "split": []}', "row 1: .*name of a split"),
        ("a.jsonl", f'{A}\n{{"text": "a", "text": "b"}}', "row 2: two values share the key"),
        ("a.jsonl", f"{A},\n{B}\n", "row 1: .*take the comma"),
        ("a.jsonl", f"[\n{A},\n{B}\n]\n", "row 1: .*let its name end in .json"),
        ("a.jsonl", f"{A[:20]}\n{B}\n", "row 1: .*take the line breaks inside it out"),
        ("a.json", f"{A}\n3\n", "row 2: not an object.*found 3"),
        ("a.jsonl", f"{A}\n{B[:-3]}é".encode("latin1"), "row 2: not UTF-8.*iconv -f latin1"),
        ("a.jsonl", f"{A}\n".encode("utf-16"), "row 1: not UTF-8.*iconv -f utf-16 "),
        ("a.jsonl", f"{A}\n".encode("utf-16le"), "row 1: not UTF-8.*iconv -f utf-16le"),
        ("a.json", b'[{"image": "1.jpg", "caption": "caf\xe9"}]', "row 1: not UTF-8.*iconv"),
        (
            "a.jsonl",
            '{"image": "1.jpg", "text": "a\\u0000b"}',
            "a caption of image 1 is not a text",
        ),
        ("a.jsonl.gz", b"\x1f\x8b\0\0", "a compressed file"),
    ],
)
def test_bad_json_lines_are_named(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_captioned(path, None if "split" in str(content) else "train")


def test_the_name_and_the_captions_are_taken_where_fields_may_be_either(tmp_path: Path) -> None:
    picture = {"bytes": None, "path": "x.jpg"}
    entry = {"image": picture, "filename": "1.jpg", "title": "DSC", "captions": ["A .", "B ."]}
    entry["caption"] = "A ."  # the first of them
    more = {"file_name": "1.jpg", "text": "C ."}
    path = written(tmp_path, "a.jsonl", f"{json.dumps(entry)}\n{json.dumps(more)}")
    assert read_captioned(path, "train") == [Captioned("1", "train", ("A .", "B .", "C ."))]


def test_a_json_with_an_object_a_line_is_read_as_lines(tmp_path: Path) -> None:
    wanted = [Captioned("1", "train", ("A dog .",)), Captioned("2", "train", ("A cat .",))]
    assert read_captioned(written(tmp_path, "a.json", f"{A}\n\n{B}\n"), "train") == wanted
    assert read_captioned(written(tmp_path, "b.json", f"[{A},\n{B}]"), "train") == wanted
    with pytest.raises(InputError, match="not a file of captions"):  # an object, not a list of one
        read_captioned(written(tmp_path, "c.json", A), "train")


@pytest.mark.parametrize("captions", [[], 3, None, [["a", "dog"]], [{"raw": "A dog ."}]])
def test_captions_that_are_no_texts_do_not_hide_one_that_is(
    tmp_path: Path, captions: object
) -> None:
    for field in ("caption", "text"):
        entry = {"image": "1.jpg", field: "A dog .", "captions": captions}
        path = written(tmp_path, f"{field}.json", json.dumps([entry]))
        assert read_captioned(path, "train") == [Captioned("1", "train", ("A dog .",))]


def test_a_number_of_captions_in_a_table_is_no_caption(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "image,text,captions\n1.jpg,A dog .,5\n")
    assert read_captioned(path, "train") == [Captioned("1", "train", ("A dog .",))]


def test_an_image_without_a_name_is_not_named_by_its_number(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", '[{"image": null, "image_id": 7, "caption": "A dog ."}]')
    with pytest.raises(InputError, match="not the name of an image"):
        read_captioned(path, "train")
