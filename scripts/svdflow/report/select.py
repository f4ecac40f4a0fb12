"""Which items a report shows in full: at most a dozen, by rule, so that nobody picks the pretty ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from svdflow.registry import TASKS
from svdflow.registry.declaration import imported
from svdflow.report.table_rows import Tables, groups, records

LIMIT = 12  # items shown in full, so that size and length of the report do not grow with the dataset. Chosen
ITEM = ["dataset", "shard", "item", "name"]


@dataclass(frozen=True)
class Shown:
    """An item that is shown in full, and the rule that chose it."""

    dataset: str
    shard: int
    item: int
    name: str
    why: str

    @property
    def key(self) -> str:
        """Short name that is safe in HTML ids."""
        return f"{self.dataset}-{self.item:06d}"

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of `table` that belong to this item."""
        return table[(table["dataset"] == self.dataset) & (table["item"] == self.item)]


def middle_rank(ranks: Iterable[int]) -> int:
    """The median of `ranks` that is one of them: the lower of two."""
    ordered = sorted(ranks)
    return int(ordered[(len(ordered) - 1) // 2])


def select(tables: Tables, kinds: Mapping[str, str] | None = None, limit: int = LIMIT) -> list[Shown]:
    """Choose the items that a report shows in full.

    Parameters
    ----------
    tables : dict of str to DataFrame
        All tables of a metrics file.
    kinds : mapping, optional
        Kind of each dataset (images, synthetic, matrix). Datasets of images get at least half of the
        places, since they are what a person can look at.
    limit : int
        Places.

    Returns
    -------
    shown : list of Shown
        Of each dataset the worst, the median and the best item by relative error at its middle listed
        rank (root mean square over planes; the error of the factorization where nothing was compressed).
        Places go round the datasets: every worst first, then every median, then every best; datasets that
        were denoised against a clean reference come first in each round.
    """
    kinds = kinds or {}
    with_clean = [table.dropna(subset=["error_clean"]) for table in tables.values() if "error_clean" in table]
    denoised = {name for rows in with_clean for name in rows["dataset"]}
    queues = {name: _ranked(scores) for name, scores in groups(_scores(tables), "dataset")}
    order = sorted(queues, key=lambda name: (name not in denoised, name))
    images = [name for name in order if kinds.get(name) == "images"]
    others = [name for name in order if kinds.get(name) != "images"]
    waiting = sum(len(queues[name]) for name in others)
    chosen = _rounds([queues[name] for name in images], max(limit - limit // 2, limit - waiting))
    chosen += _rounds([queues[name] for name in others], limit - len(chosen))
    place = {name: i for i, name in enumerate([*images, *others])}
    return sorted(chosen, key=lambda shown: place[shown.dataset])


def _scores(tables: Tables) -> pd.DataFrame:
    """One row an item: its error and the rank at which it was taken, by the first task that has one of its dataset."""
    parts: list[pd.DataFrame] = []
    factorized = tables["factorize"]
    loads = [task.scores for task in TASKS.values() if task.scores]
    for scores in [*(imported(load)(tables) for load in loads), _of_factors(factorized)]:
        scored = {name for part in parts for name in part["dataset"]}
        if len(scores) and len(mine := scores[~scores["dataset"].isin(scored)]):
            parts.append(mine)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*ITEM, "score", "rank"])


def _of_factors(factorized: pd.DataFrame) -> pd.DataFrame:
    """The error of the factorization of each item itself, or with the least noise added."""
    lowest = factorized.groupby(ITEM)["sigma_added"].transform("min")
    return by_item(factorized[factorized["sigma_added"] == lowest]).assign(rank=0)


def by_item(rows: pd.DataFrame) -> pd.DataFrame:
    """The column score of each item: its relative error, root mean square over the rows of its planes."""
    squared = rows.assign(score=rows["relative_error"] ** 2)
    means = squared.groupby(ITEM, as_index=False)["score"].mean()
    return means.assign(score=means["score"] ** 0.5)


def _ranked(scores: pd.DataFrame) -> list[Shown]:
    """Worst, median and best of one dataset."""
    ordered = records(scores.sort_values(["score", "item"], ascending=[False, True]))
    n = len(ordered)
    places = {0: "worst", (n - 1) // 2: "median", n - 1: "best"} if n > 2 else {0: "worst", n - 1: "best"}
    shown = []
    for place, word in sorted(places.items()):
        row = ordered[place]
        at = f" at rank {row['rank']}" if row["rank"] else ""
        of = f"{word} of {n}" if n > 1 else "the only item"
        why = f"{of}: relative error {row['score']:.3g}{at}"
        shown.append(Shown(row["dataset"], int(row["shard"]), int(row["item"]), row["name"], why))
    return shown


def _rounds(queues: list[list[Shown]], places: int) -> list[Shown]:
    longest = max(map(len, queues), default=0)
    in_turn = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    taken = set(in_turn[: max(places, 0)])
    return [shown for queue in queues for shown in queue if shown in taken]
