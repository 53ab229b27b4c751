"""A valid file made wrong: its bytes, its text, or the values of its format; from a seed.

`mutated` draws one change. The same seed gives the same change, so a failure can be repeated.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from tests.attack.values import NAMES, NESTED, NUMBERS, TEXTS, VALUES

Change = Callable[[bytes, random.Random], tuple[str, bytes]]


@dataclass(frozen=True)
class Mutation:
    """What was changed, in words, and the new content of the file."""

    what: str
    content: bytes


def mutated(content: bytes, ending: str, seed: str) -> Mutation:
    """Return one change of a file with this ending (``.json``, ``.npy``, ...)."""
    draw = random.Random(seed)
    changes = [of_bytes, *BY_ENDING.get(ending, [of_text])]
    change = changes[0] if draw.random() < 0.25 else draw.choice(changes)
    what, new = change(content, draw)
    return Mutation(what, new)


def of_bytes(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return the content cut, flipped, repeated, emptied, or with bytes put into it."""
    place = draw.randrange(len(content) + 1)
    kind = draw.choice(("cut", "empty", "flip", "insert", "remove", "repeat", "append"))
    if kind == "cut":
        return f"cut after {place} bytes", content[:place]
    if kind == "empty":
        return "empty", b""
    if kind == "flip":
        bit = 1 << draw.randrange(8)
        flipped = bytes([content[place] ^ bit]) if place < len(content) else b""
        return f"bit {bit} of byte {place} flipped", content[:place] + flipped + content[
            place + 1 :
        ]
    if kind == "insert":
        put = draw.choice(INSERTED)
        return f"{put[:20]!r} put at byte {place}", content[:place] + put + content[place:]
    end = min(len(content), place + draw.choice((1, 8, 64)))
    if kind == "remove":
        return f"bytes {place} to {end} removed", content[:place] + content[end:]
    if kind == "repeat":
        return f"bytes {place} to {end} repeated", content[:end] + content[place:]
    return "a copy appended", content + content


INSERTED = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",  # half a character in UTF-8
    b"\x1b[31m",
    b"\r",
    b'"',
    b"\n<<<<<<< HEAD\n",
    b"\n=======\n",
    b"[" * 2000,
    b"\n" * 50,
)


def of_text(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return a text with other lines, another encoding, or a cell replaced."""
    text = content.decode("utf-8", "replace")
    kind = draw.choice(("line", "line", "line", "encoding", "lines"))
    if kind == "encoding":
        name = draw.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1"))
        return f"written as {name}", (text + "\n\xe4\xf6\n").encode(name, "replace")
    lines = text.split("\n")
    row = draw.randrange(len(lines))
    if kind == "lines":
        other = draw.randrange(len(lines))
        change = draw.choice(("repeated", "removed", "swapped"))
        if change == "repeated":
            lines.insert(row, lines[row])
        elif change == "removed":
            del lines[row]
        else:
            lines[row], lines[other] = lines[other], lines[row]
        return f"line {row + 1} {change}", "\n".join(lines).encode()
    separator = draw.choice(
        [s for s in ("\t", ",", " ", ":", "=", "/") if s in lines[row]] or [" "]
    )
    cells = lines[row].split(separator)
    cell, value = draw.randrange(len(cells)), draw.choice(TEXTS)
    change = draw.choice(("replaced", "replaced", "replaced", "removed", "repeated"))
    new = {"replaced": [value], "removed": [], "repeated": [cells[cell]] * 2}[change]
    cells[cell : cell + 1] = new
    lines[row] = separator.join(cells)
    shown = f" by {value[:40]!r}" if change == "replaced" else ""
    what = f"cell {cell + 1} of line {row + 1} {change}{shown}"
    return what, "\n".join(lines).encode("utf-8", "surrogatepass")


def of_tree(content: Any, draw: random.Random) -> tuple[str, Any]:
    """Return a value of JSON or YAML with one of its parts replaced, removed or added."""
    steps: list[Any] = []
    parents: list[tuple[Any, Any]] = []
    here = content
    while isinstance(here, dict | list) and here and (not steps or draw.random() < 0.75):
        step = draw.choice(list(here)) if isinstance(here, dict) else draw.randrange(len(here))
        steps.append(step)
        parents.append((here, step))
        here = here[step]
    where = ".".join(map(str, steps)) or "everything"
    value = draw.choice(VALUES)
    if not parents:
        return f"{where} replaced by {str(value)[:40]!r}", value
    parent, step = parents[-1]
    kind = draw.choice(("replaced", "replaced", "replaced", "replaced", "removed", "added"))
    if kind == "removed":
        del parent[step]
        return f"{where} removed", content
    if kind == "added" and isinstance(parent, dict):
        name = draw.choice(NAMES)
        parent[name] = value
        return f"{name[:40]!r} added beside {where}", content
    if kind == "added":
        parent.insert(step, value)
        return f"{str(value)[:40]!r} added before {where}", content
    if isinstance(here, list) and draw.random() < 0.3:
        parent[step] = here[:-1]
        return f"{where} is shorter", content
    parent[step] = value
    return f"{where} replaced by {str(value)[:40]!r}", content


def of_json(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return JSON with a changed value, a repeated key, or nested deeply."""
    kind = draw.random()
    if kind < 0.05:
        return "nested deeply", NESTED.encode()
    if kind < 0.1:
        return "the first key repeated", content.replace(b"{", b'{"seed": 1, "seed": 2,', 1)
    what, tree = of_tree(json.loads(content), draw)
    return what, json.dumps(tree).encode()


def of_lines_of_json(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return a table whose cells hold JSON, with a changed value in one of them."""
    lines = content.decode().splitlines()
    row = draw.randrange(len(lines))
    name, tab, cell = lines[row].partition("\t")
    if cell[:1] not in ("{", "["):
        return of_text(content, draw)
    what, new = of_json(cell.encode(), draw)
    lines[row] = name + tab + new.decode()
    return f"line {row + 1}: {what}", "\n".join(lines).encode()


def of_yaml(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return YAML with a changed value, a tag or an anchor of itself."""
    if draw.random() < 0.15:
        text = draw.choice(YAML)
        return f"{text[:40]!r} appended", content + b"\n" + text.encode()
    what, tree = of_tree(yaml.safe_load(content), draw)
    return what, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


YAML = (
    "title: again",
    "x: &x [*x]",
    "a: !!python/object/apply:os.system [true]",
    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]",
    "? [a, b]\n: 1",
    "x: 2001-12-14t21:59:43.10-05:00",
    "x: " + "[" * 3000,
    "\tx: 1",
    "--- {}\n--- {}",
)


def of_npy(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return an array of other values, another shape or type, or with another header."""
    if draw.random() < 0.25:
        return _header(content, draw)
    values = np.load(io.BytesIO(content), allow_pickle=False)
    what, changed = of_array(values, draw)
    file = io.BytesIO()
    np.save(file, changed, allow_pickle=True)
    return what, file.getvalue()


def _header(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    length = struct.unpack("<H", content[8:10])[0]
    header = content[10 : 10 + length].decode("latin-1")
    old, new = draw.choice(HEADERS)
    shape = header[header.index("(") : header.index(")") + 1]
    written = header.replace(old or shape, new, 1)
    packed = struct.pack("<H", len(written)) + written.encode("latin-1")
    return f"header: {old or shape} is {new[:40]}", content[:8] + packed + content[10 + length :]


HEADERS = (
    ("", "(9223372036854775807,)"),
    ("", f"({2**50},)"),
    ("", "(-1, 4)"),
    ("", "(3, 10000000000000, 10000000000000)"),
    ("", "()"),
    ("", "(1" + "0" * 4000 + ",)"),
    ("False", "True"),
    ("'descr'", "'dtype'"),
    ("'<", "'|O"),
    ("{", "{" * 300),
    ("'<f4'", "'<f9'"),
    ("'<f4'", "[('a', '<f4'), ('b', '<f4')]"),
    ("'<f4'", "'<U1000000'"),
)


def of_array(values: np.ndarray, draw: random.Random) -> tuple[str, np.ndarray]:
    """Return an array with another value, shape or type."""
    kind = draw.choice(("value", "value", "value", "all", "shape", "type", "rows"))
    if kind in ("value", "all") and values.size and values.dtype.kind in "fiu":
        value = draw.choice(NUMBERS)
        changed = values.astype(np.float64) if values.dtype.kind != "f" else values.copy()
        with np.errstate(all="ignore"):
            if kind == "all":
                changed[...] = value
            else:
                changed.reshape(-1)[draw.randrange(values.size)] = value
            return f"{kind} {value}", changed.astype(values.dtype)
    if kind == "shape":
        shapes = [values[..., None], values.reshape(-1), values.T, values[:0], values[None]]
        changed = draw.choice(shapes)
        return f"shape {changed.shape}", np.ascontiguousarray(changed)
    if kind == "type":
        name = draw.choice(("float16", "float64", "int64", "complex64", "U4", "O", ">f4", "bool"))
        with np.errstate(all="ignore"):
            return f"type {name}", values.astype(name)
    rows = np.concatenate([values, values[:1]]) if draw.random() < 0.5 else values[:-1]
    return f"{len(rows)} rows", rows


def of_npz(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return an archive of arrays with one of them changed, renamed, or taken out."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    name = draw.choice(list(members))
    kind = draw.choice(("changed", "changed", "changed", "removed", "renamed", "added"))
    if kind == "changed":
        what, members[name] = of_npy(members[name], draw)
    elif kind == "removed":
        what = "removed"
        del members[name]
    elif kind == "renamed":
        what = draw.choice(("../x.npy", "/x.npy", "x", "config.npy", "\x1b[31m.npy"))
        members[what] = members.pop(name)
    else:
        what = "a pickle added"
        members["y.npy"] = _pickled()
    written = io.BytesIO()
    with zipfile.ZipFile(
        written, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as z:
        for member, data in members.items():
            z.writestr(member, data)
    return f"{name}: {what}", written.getvalue()


def _pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


def of_safetensors(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return tensors with another header, or with a number changed."""
    (length,) = struct.unpack("<Q", content[:8])
    if draw.random() < 0.15:
        claimed = draw.choice((0, 2**60, 2**64 - 1, length - 1, length + 1))
        return f"header of {claimed} bytes", struct.pack("<Q", claimed) + content[8:]
    body = bytearray(content[8 + length :])
    header = content[8 : 8 + length]
    if draw.random() < 0.4 and len(body) >= 4:
        place = draw.randrange(len(body) // 4) * 4
        value = draw.choice(NUMBERS)
        with np.errstate(all="ignore"):
            body[place : place + 4] = np.array([value]).astype("<f4").tobytes()
        return f"number at byte {place} is {value}", content[: 8 + length] + bytes(body)
    what, tree = of_tree(json.loads(header), draw)
    new = json.dumps(tree).encode()
    return f"header: {what}", struct.pack("<Q", len(new)) + new + bytes(body)


def of_picture(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return a picture of another kind, or that claims another size."""
    from PIL import Image

    if content[:4] == b"\x89PNG" and draw.random() < 0.4:
        size = struct.pack(">II", *draw.choice(((2**31 - 1, 1), (0, 0), (60000, 60000), (1, 1))))
        return f"claims {struct.unpack('>II', size)}", content[:16] + size + content[24:]
    if draw.random() < 0.3:
        return "not a picture", draw.choice(
            (b"hello\n", b"%PDF-1.4\n", b"<svg/>", b"BM" + b"\0" * 60)
        )
    with Image.open(io.BytesIO(content)) as opened:
        mode = draw.choice(("1", "L", "P", "CMYK", "I;16", "F", "RGBA", "LA"))
        kind = "TIFF" if mode in ("F", "CMYK") else "PNG"
        picture = opened.convert("I").convert("I;16") if mode == "I;16" else opened.convert(mode)
    file = io.BytesIO()
    picture.resize(draw.choice(((1, 1), (3, 200), picture.size))).save(file, kind)
    return f"{kind} of mode {mode}, {picture.size}", file.getvalue()


def of_checkpoint(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return a checkpoint of a release with one of its values or tensors changed."""
    import torch

    tree = torch.load(io.BytesIO(content), weights_only=False)
    what, tree = _of_checkpoint_tree(tree, draw)
    file = io.BytesIO()
    torch.save(tree, file)
    return what, file.getvalue()


def _of_checkpoint_tree(tree: Any, draw: random.Random) -> tuple[str, Any]:
    import torch

    kind = draw.choice(("option", "option", "tensor", "tensor", "part", "tree"))
    options = tree.get("opt") if isinstance(tree, dict) else None
    if kind == "option" and options is not None:
        name = draw.choice(sorted(vars(options)))
        value = draw.choice(VALUES)
        setattr(options, name, value)
        return f"option {name} is {str(value)[:40]!r}", tree
    if kind == "tensor" and isinstance(tree, dict) and "model" in tree:
        part = draw.choice(tree["model"]) if isinstance(tree["model"], list) else tree["model"]
        if part:
            name = draw.choice(list(part))
            array = part[name].numpy()
            what, changed = of_array(array, draw)
            bad = changed.dtype.kind in "UO" or not changed.dtype.isnative
            part[name] = "text" if bad else torch.from_numpy(changed.copy())
            return f"{name}: {what}", tree
    if kind == "part":
        name = draw.choice(list(tree))
        del tree[name]
        return f"{name} removed", tree
    return of_tree(tree, draw)


BY_ENDING: dict[str, list[Change]] = {
    ".json": [of_json, of_json, of_text],
    ".ipynb": [of_json, of_json, of_text],
    ".yml": [of_yaml, of_yaml, of_text],
    ".yaml": [of_yaml, of_yaml, of_text],
    ".npy": [of_npy, of_npy],
    ".npz": [of_npz, of_npz],
    ".safetensors": [of_safetensors, of_safetensors],
    ".png": [of_picture],
    ".tar": [of_checkpoint, of_checkpoint],
    ".json.tsv": [of_lines_of_json, of_text],
    ".hdf5": [],
    ".mdb": [],
    ".faiss": [],
    ".gz": [],
}
