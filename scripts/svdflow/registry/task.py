"""The declaration of a task: what it can be asked, what it reads and leaves, what it costs, where its code stands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from svdflow.registry.declaration import Declaration, Registry
from svdflow.registry.kinds import EVERYTHING
from svdflow.registry.options import NoOptions, Options
from svdflow.registry.tables import Table


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a study asks of a task on one dataset; what a declaration answers from.

    Attributes
    ----------
    row : Dataset
        Row of the sheet: name, kind, colour, noise_sigma, tasks, overrides.
    config : mapping
        The whole configuration.
    section : str
        Where the options of the task stand in it.
    rank_limit : int
        The largest rank that is factorized.
    methods : sequence of str
        Those that the task is split by, as far as they apply to the dataset.
    method : str
        The one of this job; empty where the task is not split.
    items : range
        Of the shard; empty where no shard is meant.
    """

    row: Any
    config: Mapping[str, Any]
    section: str
    rank_limit: int
    methods: Sequence[str] = ()
    method: str = ""
    items: range = range(0)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the task, with what the row says in their place."""
        return self.options_of(self.section)

    def options_of(self, section: str) -> dict[str, Any]:
        """The same of another section."""
        keys = self.config.get(section, {})
        return {key: self.row.overrides.get(key, value) for key, value in keys.items()}


def _as_asked(asked: Asked) -> Mapping[str, Any]:
    return asked.options


def _no_rank(_: Asked) -> int:
    return 0


def _always(_: Asked) -> bool:
    return True


def _free(_: Asked) -> float:
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Task(Declaration):
    """A task: what a dataset can ask for, one job a shard.

    Its code is a function of a shard, ``f(matrices=, factors=, out=, runtime=, dataset=, shard=, **settings)``, which
    publishes the file `out` of kind `folder` with the `tables` and the table errors.

    Attributes
    ----------
    tables : sequence of Table
    options : type of Options
        The section of the configuration.
    section : str
        Its name there; that of the task where empty.
    folder : str
        Below the results, and kind of the files; the name of the task where empty.
    aliases : sequence of str
        Other words for it in the sheet.
    applies_to : sequence of str
        Kinds of datasets.
    reads : sequence of str
        Of ``matrices`` and ``factors``.
    leaves : mapping of str to str
        Folders that a shard publishes beside its tables: keyword of the function -> path below the results, with
        ``{dataset}``, ``{shard}`` and, where the task is split, ``{method}``.
    threads : int
        Of a job.
    methods : Registry, optional
        One job for each of the option ``methods``, which are names of this registry.
    uses : mapping of str to Registry
        Settings that name declarations of a registry: only those count in the digest of the code of a job.
    noisy : bool
        Whether it works on observations with noise, and compares them with a clean reference where there is one.
    unused : sequence of Registry
        Registries that its modules reach by their imports and of which it runs nothing, so that none of it counts.
    judged : bool
        Whether its figures refer to the range of the dataset's values, which is then the setting ``data_range``.
    seeded : bool
        Whether it draws; the setting ``seed``.
    by_default : bool
        Whether a dataset asks for it whose row names no tasks.
    selfcheck : bool
        Whether what examines this installation belongs to its answers, as ``selfcheck.h5`` of the study.
    settings : function of Asked
        What shapes the result of a job, in builtins; the options as they are by default.
    rank : function of Asked
        The rank that the task asks of the factors of an item itself.
    noisy_rank : function of Asked
        The same for observations with added noise.
    needs_factors : function of Asked
        Whether it has nothing to say of an item without factors.
    seconds : function of Asked
        Seconds of one core that a million values take, for the plan.
    sections : str
        Of the report: ``"module:function"`` from `ReportData` to a list of `Section`, or empty.
    findings : str
        Sentences for the top of the report: a function of all tables and the kinds of the datasets, or empty.
    notes : str
        Sentences about what is worth less than it looks, for the terminal too: a function of all tables, or empty.
    marks : str
        Ranks that were chosen for an item, drawn into its spectrum: a function of the item (`Shown`), all tables and
        the noise levels, to a rank by name and what follows the name; or empty.
    scores : str
        By what the report chooses the items that it shows in full: a function of all tables to a data frame with
        dataset, shard, item, name, score and rank, or empty.
    """

    tables: Sequence[Table]
    options: type[Options] = NoOptions
    section: str = ""
    folder: str = ""
    aliases: Sequence[str] = ()
    applies_to: Sequence[str] = EVERYTHING
    reads: Sequence[str] = ("matrices", "factors")
    leaves: Mapping[str, str] = field(default_factory=dict)
    threads: int = 2
    methods: Registry[Any] | None = None
    uses: Mapping[str, Registry[Any]] = field(default_factory=dict)
    unused: Sequence[Registry[Any]] = ()
    noisy: bool = False
    judged: bool = False
    seeded: bool = False
    by_default: bool = False
    selfcheck: bool = False
    settings: Callable[[Asked], Mapping[str, Any]] = _as_asked
    rank: Callable[[Asked], int] = _no_rank
    noisy_rank: Callable[[Asked], int] = _no_rank
    needs_factors: Callable[[Asked], bool] = _always
    seconds: Callable[[Asked], float] = _free
    sections: str = ""
    findings: str = ""
    notes: str = ""
    marks: str = ""
    scores: str = ""

    @property
    def place(self) -> str:
        """Folder of its files below the results, and their kind."""
        return self.folder or self.name

    @property
    def pattern(self) -> str:
        """Folder of a dataset's shards below the results, with ``{dataset}`` and, where it is split, ``{method}``."""
        return f"{self.place}/{{dataset}}" + ("/{method}" if self.methods is not None else "")

    @property
    def key(self) -> str:
        """Section of the configuration that holds its options."""
        return self.section or self.name
