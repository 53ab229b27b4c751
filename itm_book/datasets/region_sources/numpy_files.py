"""Arrays of numbers in the bytes of .npy and .npz files, whose headers are checked first.

numpy allocates what a header says before it reads. Here a header that differs from the length of
its file is refused, and nothing but numbers is opened: no text, no pickled objects.

Page: "Which files does it read?".
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Collection
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from itm_core.errors import InputError
from itm_core.files import reading

HEADERS = {  # version: its reader; later versions are of arrays with named columns
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
DAMAGE = (  # what zipfile and the header's reader raise for any bytes
    *(ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile),
    *(NotImplementedError, RuntimeError, OverflowError, TypeError, SyntaxError, TokenError),
)


def npz_arrays(file: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of numbers of an .npz file by name; raises `InputError` for a damaged one.

    Other members, such as pickled notes on the detector, are not opened; with ``names``, only these
    are.
    """
    try:
        with reading(file):
            return members(file, names)
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(
            "damaged .npz file",
            file=file,
            found=str(error),
            remedy="copy or download the file again",
        ) from None


def members(
    content: Path | IO[bytes], names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of numbers of an archive by name; raises one of `DAMAGE`."""
    arrays = {}
    with zipfile.ZipFile(content) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name != info.filename and (names is None or name in names):
                with archive.open(info) as file:
                    values = numbers(file, info.file_size)
                if values is not None:
                    arrays[name] = values
    return arrays


def numbers(file: IO[bytes], size: int) -> np.ndarray | None:
    """Return the array of numbers in the bytes of an .npy file; None for another type.

    Raises ValueError where the header does not fit the ``size`` of the file.
    """
    read = HEADERS.get(np.lib.format.read_magic(file))
    if read is None:
        return None
    shape, by_columns, kind = read(file)
    if kind.kind not in "fiu":
        return None
    left = size - file.tell()
    if prod(shape) * kind.itemsize != left:
        raise ValueError(f"{left} bytes of {kind} {list(shape)}")
    values = np.frombuffer(file.read(left), kind)
    return values.reshape(shape, order="F" if by_columns else "C")


def of_bytes(value: bytes) -> np.ndarray | None:
    """Return what `numbers` does of bytes in memory."""
    return numbers(io.BytesIO(value), len(value))
