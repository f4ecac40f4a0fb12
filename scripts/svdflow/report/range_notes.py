"""What PSNR and SSIM refer to, and which pixels count, in words."""

import pandas as pd

from svdflow.report.table_rows import Tables, groups

SHOWN = 6  # datasets whose ranges a caption names one by one: two lines. Chosen


def range_words(rows: pd.DataFrame) -> str:
    """A sentence that names the data range of each dataset in the rows of a table, with its source; '' where none is.

    For example: `` Data range 255 (8 bits).`` or `` Data range: mine 255 (8 bits); scans 1,023 (10 bits, ...).``
    """
    known = rows[rows["data_range"] > 0]
    said = {dataset: _of_dataset(mine) for dataset, mine in groups(known, "dataset")}
    different = sorted(set(said.values()))
    if not said:
        return ""
    if len(different) == 1:
        return f" Data range {different[0]}."
    if len(said) <= SHOWN:
        return f" Data range: {'; '.join(f'{name} {words}' for name, words in said.items())}."
    return f" Data range: {'; '.join(different[:SHOWN])}{'; ...' if len(different) > SHOWN else ''}."


def range_of(rows: pd.DataFrame) -> str:
    """The data range of one dataset with its source, ``-`` where there is none."""
    known = rows[rows["data_range"] > 0]
    return _of_dataset(known) if len(known) else "–"


def masked_words(tables: Tables) -> list[str]:
    """How many planes have missing pixels that no figure counts, where any has."""
    found = {
        (row.dataset, row.item, row.plane): (row.masked, row.m * row.n)
        for table in tables.values()
        if "masked" in table
        for row in table[["dataset", "item", "plane", "masked", "m", "n"]].itertuples(index=False)
        if row.masked
    }
    if not found:
        return []
    missing, pixels = (sum(values) for values in zip(*found.values(), strict=True))
    planes = f"{len(found):,} {'plane' if len(found) == 1 else 'planes'}"
    return [
        f"{planes} with missing pixels ({100 * missing / pixels:.2g} % of theirs): no figure counts these."
    ]


def _of_dataset(rows: pd.DataFrame) -> str:
    parts = []
    for source, mine in groups(rows, "data_range_source"):
        low, high = mine["data_range"].min(), mine["data_range"].max()
        value = f"{low:,.6g}" if low == high else f"{low:,.6g} to {high:,.6g}"
        parts.append(f"{value} ({source})" if source else value)
    return ", ".join(parts)
