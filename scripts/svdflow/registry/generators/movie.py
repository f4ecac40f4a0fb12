"""movie: its parameters and what is known of it."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from pydantic import Field, model_validator

from svdflow.registry.family_fields import Noise, Real
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


def _pixels_and_frames(params: Mapping[str, Any]) -> tuple[int, int]:
    return params["height"] * params["width"], params["frames"]


class Movie(Options):
    """Parameters of movie."""

    height: int = Field(48, ge=1, description="pixels down")
    width: int = Field(48, ge=1, description="pixels across")
    frames: int = Field(60, ge=1, description="number of columns n")
    rank: int = Field(6, ge=1, description="number of spots")
    noise: Noise = 1.0
    dtype: Real = "float32"

    @model_validator(mode="after")
    def check(self) -> "Movie":
        """Refuse a rank above the shorter side."""
        side = min(self.height * self.width, self.frames)
        if self.rank > side:
            raise ValueError(f"rank: {self.rank} is more than the shorter of pixels and frames, {side}")
        return self


DECLARED = [
    Generator(
        name="movie",
        summary="`rank` spots of unit height that flare up and fade, of root mean square 1 in time, plus white noise; "
        "a row for each pixel, a column for each frame",
        source="Pnevmatikakis et al. (2016)",
        truth="clean, from its separable terms (computed where noise is 0)",
        options=Movie,
        shape=_pixels_and_frames,
        grid=itemgetter("height", "width"),
        load="svdflow.matrix.generators.movie:build",
    )
]
