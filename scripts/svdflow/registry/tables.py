"""Tables of measurements as their tasks declare them: columns with units, and how a summary of them reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Column(NamedTuple):
    """One column: `kind` is text, int, float or bool."""

    name: str
    kind: str
    unit: str
    description: str


KEY = (
    Column("dataset", "text", "", "row of the sheet of datasets"),
    Column("shard", "int", "", "slice of the manifest"),
    Column("item", "int", "", "index of the item in the manifest"),
    Column("name", "text", "", "name of the item, a file name or a generator"),
    Column("plane", "text", "", "grey; r, g, b; y, cb, cr; matrix"),
    Column("sigma_added", "float", "value", "standard deviation of the noise added to the clean item"),
)
SHAPE = (
    Column("m", "int", "rows", "rows of the plane"),
    Column("n", "int", "columns", "columns of the plane"),
)
RANK = Column("rank", "int", "", "number of components kept")
BITS_PER_PIXEL = Column("bits_per_pixel", "float", "bit", "8 bytes / (m n)")
MS_SSIM = Column(
    "ms_ssim",
    "float",
    "1",
    "multi-scale SSIM (Wang 2003, five scales); NaN below 176 pixels or where it is not asked for",
)
JUDGED = (
    Column("data_range", "float", "value", "peak of PSNR, NRMSE and SSIM: one a dataset and kind of samples"),
    Column(
        "data_range_source",
        "text",
        "",
        "where it comes from: 8 bits, bits that files state, the fewest bits that hold all values, largest less "
        "smallest value, or given",
    ),
    Column("masked", "int", "pixel", "missing pixels of the plane, which no figure counts"),
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of metrics.h5, one row a measurement, and its summary under tables/.

    Attributes
    ----------
    name : str
    columns : sequence of Column
        A table of measurements of planes begins with `KEY`; `JUDGED` says what its figures refer to.
    caption : str
        What the summary says of itself; there is none where it is empty.
    keys : sequence of str
        Columns whose equal values make one row of the summary.
    figures : sequence of str
        Columns of which the summary gives median, minimum and maximum.
    flag : str
        A column of truth values that the summary counts; empty for none.
    summary : str
        Where a summary of another kind stands, ``"module:function"``: a data frame, from the table as one and this
        declaration.
    """

    name: str
    columns: Sequence[Column]
    caption: str = ""
    keys: Sequence[str] = ("dataset",)
    figures: Sequence[str] = ()
    flag: str = ""
    summary: str = ""

    @property
    def of_planes(self) -> bool:
        """Whether a row measures a plane of an item of a dataset."""
        return tuple(self.columns[: len(KEY)]) == KEY


ERRORS = Table(
    name="errors",
    columns=(
        Column("dataset", "text", "", "row of the sheet of datasets"),
        Column("item", "int", "", "index of the item in the manifest"),
        Column("name", "text", "", "name of the item"),
        Column("stage", "text", "", "where it failed"),
        Column("code", "text", "", "cause, for counting"),
        Column("message", "text", "", "what was wrong and what to do"),
    ),
    caption="Every error.",
    summary="svdflow.report.tables:errors_summary",
)
