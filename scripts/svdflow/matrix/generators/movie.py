"""movie: pixels by frames, spots that flare up and fade."""

from typing import Any

import numpy as np

from svdflow.matrix.generators.formulas import separable
from svdflow.matrix.generators.generated import GeneratedMatrix
from svdflow.matrix.generators.randomness import stream

# What a movie looks like. Any change makes other matrices of the family; the values were chosen by eye for svdflow.
WIDTHS = (0.06, 0.12)  # standard deviations of a spot, between these shares of the shorter side of the image
MARGIN = 0.1  # share of each side of the image in which no spot has its centre
FADING = 1 / 12  # time constant of fading, as a share of the number of frames
FRAMES_AN_EVENT = 20  # frames for each time that a spot flares up; at least two times a movie


def build(params: dict[str, Any], seed: int) -> GeneratedMatrix:
    """Sum of `rank` products of a spot, exp(-d^2 / (2 w^2)), and a trace, sum over events of exp(-(t - t_e) / tau).

    Centres, widths and events are random; a trace has root mean square 1. The model of a calcium movie (Pnevmatikakis
    et al., 2016) without background. Row i of the matrix is the pixel (i // width, i % width).
    """
    spots = _spots(params["height"], params["width"], params["rank"], seed)
    return separable(spots, _traces(params["frames"], params["rank"], seed), params, seed)


def _spots(height: int, width: int, count: int, seed: int) -> np.ndarray:
    draws = stream(seed, "left", 0)
    rows, columns = draws.uniform(MARGIN, 1 - MARGIN, (2, count)) * [[height - 1], [width - 1]]
    widths = draws.uniform(*WIDTHS, count) * min(height, width)
    down = (np.arange(height)[:, None] - rows) ** 2
    across = (np.arange(width)[:, None] - columns) ** 2
    return np.exp(-(down[:, None] + across) / (2 * widths**2)).reshape(height * width, count)


def _traces(frames: int, count: int, seed: int) -> np.ndarray:
    draws = stream(seed, "right", 0)
    events = draws.integers(0, frames, (max(2, frames // FRAMES_AN_EVENT), count))
    since = np.arange(frames)[:, None, None] - events
    traces = np.where(since >= 0, np.exp(-np.maximum(since, 0) / max(2.0, frames * FADING)), 0.0).sum(axis=1)
    return traces / np.sqrt(np.mean(traces**2, axis=0))
