"""structured_image: its parameters and what is known of it."""

from svdflow.registry.family_fields import Columns, Noise, Real, Rows
from svdflow.registry.kinds import Generator
from svdflow.registry.options import Options


class StructuredImage(Options):
    """Parameters of structured_image."""

    rows: Rows = 256
    columns: Columns = 192
    noise: Noise = 0.05
    dtype: Real = "float64"


DECLARED = [
    Generator(
        name="structured_image",
        summary="sin X cos Y + 0.3 sin(3X + 2Y) + 0.5 sign sin(X/2); X in [0, 6 pi] by column, Y in [0, 8 pi] by row",
        truth="clean, from its four separable terms (computed where noise is 0)",
        options=StructuredImage,
        load="svdflow.matrix.generators.structured_image:build",
    )
]
