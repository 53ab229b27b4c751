"""Region features in the forms of the releases, written as their tools write them."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.itm_book.datasets.test_convert import IDS, regions_of, write_tsv


def b64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def rects(image: int) -> list[dict]:
    """The objects of VinVL's predictions, without their features."""
    boxes = regions_of(image)["boxes"].tolist()
    return [{"class": "dog", "rect": box, "conf": 0.9} for box in boxes]


def butd_parts(folder: Path) -> Path:
    folder.mkdir()
    write_tsv(folder / "karpathy_train_resnet101_faster_rcnn_genome.tsv.0", IDS[:3])
    write_tsv(folder / "karpathy_train_resnet101_faster_rcnn_genome.tsv.1", IDS[3:5])
    write_tsv(folder / "karpathy_val_resnet101_faster_rcnn_genome.tsv", IDS[5:])
    return folder


def lxmert(folder: Path) -> Path:
    """Height before width, and what the detector saw before the boxes."""
    folder.mkdir()
    with (folder / "train_obj36.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        for image in IDS:
            r = regions_of(image)
            classes, sure = np.arange(3), np.ones(3, np.float32)
            seen = [b64(v) for v in (classes, sure, classes, sure)]
            name = f"COCO_train2014_{image:012}"
            row = [name, r["image_h"], r["image_w"], *seen, 3, b64(r["boxes"]), b64(r["x"])]
            writer.writerow(row)
    return folder


def with_header(folder: Path) -> Path:
    """Columns in an order of its own, bytes as Python 3 prints them, and a second header."""
    folder.mkdir()
    lines = []
    for image in IDS:
        if image in (IDS[0], IDS[3]):
            lines.append("features\timg_id\tnum_boxes\timg_h\timg_w\tboxes")
        r = regions_of(image)
        coded = f"b'{b64(r['x'])}'", f"b'{b64(r['boxes'])}'"
        lines.append(f"{coded[0]}\t{image:012}.jpg\t3\t60\t80\t{coded[1]}")
    (folder / "all.tsv").write_text("\n".join(lines) + "\n")
    return folder


def vinvl(folder: Path) -> Path:
    """Features, and boxes in another order in predictions.tsv; .lineidx and .json beside them."""
    folder.mkdir()
    features = [f"{image}\t3\t{b64(regions_of(image)['x'])}\n" for image in IDS]
    (folder / "features.tsv").write_text("".join(features))
    notes = [{"image_h": 60, "image_w": 80, "objects": rects(image)} for image in IDS[::-1]]
    rows = [f"{i}\t{json.dumps(note)}\n" for i, note in zip(IDS[::-1], notes, strict=True)]
    (folder / "predictions.tsv").write_text("".join(rows))
    (folder / "features.lineidx").write_text("0\n")
    (folder / "imageid2idx.json").write_text("{}")
    return folder


def scene_graph_benchmark(folder: Path) -> Path:
    """One file: a feature in each object."""
    folder.mkdir()
    lines = []
    for image in IDS:
        objects = [
            {**thing, "feature": b64(feature)}
            for thing, feature in zip(rects(image), regions_of(image)["x"], strict=True)
        ]
        note = {"image_h": 60, "image_w": 80, "objects": objects}
        lines.append(f"{image}\t{json.dumps(note)}\n")
    (folder / "predictions.tsv").write_text("".join(lines))
    return folder


def oscar(folder: Path) -> Path:
    """train.feature.tsv, train.label.tsv and train.hw.tsv of the captioning task."""
    folder.mkdir()
    rows: dict[str, list] = {"feature": [], "label": [], "hw": []}
    for image in IDS:
        coded = b64(regions_of(image)["x"])
        rows["feature"].append({"num_boxes": 3, "features": coded})
        rows["label"].append(rects(image))
        rows["hw"].append([{"height": 60, "width": 80}])
    for kind, notes in rows.items():
        lines = (f"{i}\t{json.dumps(note)}\n" for i, note in zip(IDS, notes, strict=True))
        (folder / f"train.{kind}.tsv").write_text("".join(lines))
    return folder


def cocobu(folder: Path) -> Path:
    for kind in ("att", "box", "fc"):
        (folder / f"cocobu_{kind}").mkdir(parents=True)
    for image in IDS:
        r = regions_of(image)
        np.savez_compressed(folder / "cocobu_att" / str(image), feat=r["x"])
        np.save(folder / "cocobu_box" / str(image), r["boxes"])
        np.save(folder / "cocobu_fc" / str(image), r["x"].mean(0))
    return folder


def grid_npy(folder: Path) -> Path:
    folder.mkdir()
    for image in IDS:
        np.save(folder / f"COCO_train2014_{image:012}.npy", regions_of(image)["x"])
    return folder


def openvqa(folder: Path) -> Path:
    """Features as columns, and a pickled note in each file."""
    folder.mkdir()
    for image in IDS:
        r = regions_of(image)
        note = np.array({"cls": 1}, dtype=object)
        values = {"x": r["x"].T, "bbox": r["boxes"], "num_bbox": 3, "info": note}
        np.savez(folder / f"COCO_val2014_{image:012}.jpg.npz", image_w=80, image_h=60, **values)
    return folder


# what each form holds besides features
FORMS: Sequence[tuple[Callable[[Path], Path], bool, bool]] = [
    (butd_parts, True, True),
    (lxmert, True, True),
    (with_header, True, True),
    (vinvl, True, True),
    (scene_graph_benchmark, True, True),
    (oscar, True, True),
    (cocobu, True, False),
    (grid_npy, False, False),
    (openvqa, True, True),
]
