"""Grounds of Scenes: background textures of integer noise.

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from itm_book.scenes.world import SIDE, Draws

_CELL = 16  # pixels between the knots of smooth noise
_RAMP = np.arange(SIDE, dtype=np.int64)
_ROWS, _COLUMNS = _RAMP[:, None], _RAMP[None, :]


def ground_pixels(ground: str, draws: Draws) -> np.ndarray:
    """Return a random image of the ground, ``[SIDE, SIDE, 3]`` int64 from 0 to 255."""
    colour, pattern = _GROUNDS[ground]
    tone = pattern(draws)[..., None]
    return np.clip(np.array(colour, dtype=np.int64) * (256 + tone) // 256, 0, 255)


def _grain(draws: Draws, strength: int) -> np.ndarray:
    """Return independent noise for each pixel, from -strength to strength."""
    return draws.grid(2 * strength + 1, (SIDE, SIDE)) - strength


def _smooth(draws: Draws, strength: int, across: int = _CELL, down: int = _CELL) -> np.ndarray:
    """Return smooth noise: bilinear interpolation of random knots."""
    rows, columns = _between_knots(down), _between_knots(across)
    knots = draws.grid(2 * strength + 1, (rows.shape[1], columns.shape[1])) - strength
    return rows @ knots @ columns.T // (down * across)


def _between_knots(cell: int) -> np.ndarray:
    """Return the integer interpolation weights ``[SIDE, knots]``; rows sum to ``cell``."""
    weights = np.zeros((SIDE, SIDE // cell + 2), dtype=np.int64)
    weights[_RAMP, _RAMP // cell] = cell - _RAMP % cell
    weights[_RAMP, _RAMP // cell + 1] = _RAMP % cell
    return weights


def _wave(phase: np.ndarray, period: int, strength: int) -> np.ndarray:
    """Return a triangle wave of the phase, from -strength to strength."""
    return np.abs(phase % period * 2 - period) * 2 * strength // period - strength


def _grass(draws: Draws) -> np.ndarray:
    blades = _grain(draws, 70)
    long = sum(np.roll(blades, step, axis=0) for step in range(4))
    return long // 3 + _smooth(draws, 26)


def _sand(draws: Draws) -> np.ndarray:
    bend = _smooth(draws, 14)
    return _grain(draws, 12) + _wave(_ROWS + _COLUMNS // 4 + bend, 18, 11)


def _snow(draws: Draws) -> np.ndarray:
    return _smooth(draws, 16) + _grain(draws, 4)


def _water(draws: Draws) -> np.ndarray:
    bend = _smooth(draws, 9, across=8)
    crest = _wave(_ROWS + bend, 11, 30)
    return np.where(crest > 12, 34, crest // 3) + _smooth(draws, 16)


def _blocks(draws: Draws, height: int, width: int, joint: int, offset: int) -> np.ndarray:
    """Return rows of blocks of different tone with joints between them."""
    row = _ROWS // height
    along = _COLUMNS + offset * (row % 2) + 0 * _ROWS
    tones = draws.grid(49, (SIDE // height + 1, SIDE // width + 3)) - 24
    tone = tones[row + 0 * _COLUMNS, along // width]
    seam = (_ROWS % height == 0) | (along % width == 0)
    return np.where(seam, joint, tone) + _grain(draws, 9)


def _brick(draws: Draws) -> np.ndarray:
    return _blocks(draws, 9, 20, 62, 10)


def _stone(draws: Draws) -> np.ndarray:
    return _blocks(draws, 16, 17, -84, 8) + _smooth(draws, 12, across=8, down=8)


def _wood(draws: Draws) -> np.ndarray:
    fibre = _smooth(draws, 26, across=28, down=2)
    plank = _ROWS % 22
    return np.where(plank == 0, -90, fibre) + _grain(draws, 5)


def _carpet(draws: Draws) -> np.ndarray:
    lattice = _wave(_ROWS + _COLUMNS, 16, 26) + _wave(_ROWS - _COLUMNS + 4 * SIDE, 16, 26)
    return lattice * 2 // 3 + _grain(draws, 14)


def _tiles(draws: Draws) -> np.ndarray:
    dark = (_ROWS // 14 + _COLUMNS // 14) % 2
    return -34 * dark + _smooth(draws, 8) + _grain(draws, 4)


def _soil(draws: Draws) -> np.ndarray:
    lumps = _smooth(draws, 60, across=4, down=4)
    return lumps + _smooth(draws, 22) + _grain(draws, 16)


_GROUNDS: dict[str, tuple[tuple[int, int, int], Callable[[Draws], np.ndarray]]] = {
    "grass": ((112, 146, 84), _grass),
    "sand": ((214, 192, 148), _sand),
    "snow": ((226, 232, 240), _snow),
    "water": ((104, 150, 186), _water),
    "brick": ((164, 108, 90), _brick),
    "wood": ((180, 140, 98), _wood),
    "stone": ((152, 152, 150), _stone),
    "carpet": ((132, 106, 140), _carpet),
    "tiles": ((206, 212, 206), _tiles),
    "soil": ((116, 90, 70), _soil),
}
