"""What shapes the result of each stage: the one place that turns configuration into parameters of a rule.

Snakemake reruns a job when these change, so they hold plain builtins and nothing that does not shape the
result. Runtime settings (threads, memory, backend) are not here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from svdflow.registry import GENERATORS, SVD_METHODS, TASKS, Registry, Task
from svdflow.registry.audit_tables import flat_thresholds
from svdflow.study.digest import digest, facts_of
from svdflow.study.manifest import matrix_source

if TYPE_CHECKING:
    from svdflow.study.study import Study

Settings = dict[str, Any]


def ingest_images(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    row = study.datasets[dataset]
    return {
        **_place(dataset, shard),
        **_files(study, dataset, shard),
        "colour": row.colour,
        "noise_sigma": row.noise_sigma,
        "seed": study.config["seed"] if row.noise_sigma else 0,  # nothing else about an image is random
        "pixel_limit": study.config["ingest"]["pixel_limit"],
        "crop": row.overrides.get("crop", 0),
        "fill": row.overrides.get("fill", ""),
    }


def ingest_matrix(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    inner = matrix_source(study.datasets[dataset].source)[1]
    grid = [int(side) for side in study.datasets[dataset].overrides.get("grid", "").split("x") if side]
    fill = study.datasets[dataset].overrides.get("fill", "")
    return {
        **_place(dataset, shard),
        **_files(study, dataset, shard),
        "inner": inner,
        "grid": grid,
        "fill": float(fill) if fill else None,
        "allow_links": study.config["ingest"]["allow_links"],
    }


def ingest_synthetic(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    row = study.datasets[dataset]
    return {
        **_place(dataset, shard),
        "family": row.source,
        "parameters": row.parameters,
        "replicates": list(study.slice(dataset, shard)),
        "seed": study.config["seed"],
        "with_clean": any(task.noisy for task in study.tasks(dataset)),
    }


def factorize(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    row, keys = study.datasets[dataset], study.config["factorize"]
    return {
        **_place(dataset, shard),
        "item_rank": item_rank(study, dataset),
        "noisy_rank": noisy_rank(study, dataset),
        "seed": study.config["seed"],
        **{key: row.overrides.get(key, keys[key]) for key in ("method", "tol", "center")},
        **_precision(keys),
        "refuse_masked": factors_needed(study, dataset),
    }


def _precision(keys: Settings) -> Settings:
    """``precision`` where it is not the default, so that digests made before there was a choice hold."""
    return {} if keys["precision"] == "full" else {"precision": keys["precision"]}


def of_task(task: Task, study: "Study", dataset: str, shard: str, method: str) -> Settings:
    """What shapes the result of a task: what it declares, and the seed and range of values where it says so."""
    asked = study.asked(task, dataset, method, shard)
    seed = {"seed": study.config["seed"]} if task.seeded else {}
    judged = {"data_range": study.value_ranges(dataset)} if task.judged else {}
    return {**_place(dataset, shard), **task.settings(asked), **seed, **judged}


def selfcheck(study: "Study", *_: str) -> Settings:
    """What needs no data."""
    return {**_seeded(study), "mutants": study.config["audit"]["mutants"]}


def audit_own(study: "Study", *_: str) -> Settings:
    """A user's own functions and matrices; the file itself is an input of the rule."""
    return {**_seeded(study), "functions": study.config["audit"]["functions"]}


def _seeded(study: "Study") -> Settings:
    return {"seed": study.config["seed"], "thresholds": thresholds(study)}


def thresholds(study: "Study") -> Settings:
    """The thresholds that differ from the catalogue's, as ``{"svd_residual.fail": 30}``."""
    return flat_thresholds(study.config["audit"]["thresholds"])


def metrics(study: "Study", *_: str) -> Settings:
    return {"seed": study.config["seed"], "config_digest": digest([_results_config(study), _rows(study)])}


def nothing(*_: Any) -> Settings:
    """No settings."""
    return {}


def report(study: "Study", *_: str) -> Settings:
    """What the report says of the study."""
    return {
        "title": study.config["title"],
        "config": _results_config(study),
        "datasets": _rows(study),
        "left_out": study.left_out(),
    }


def verdict(study: "Study", *_: str) -> Settings:
    return {
        "allow_errors": study.config["allow_errors"],
        "strict": study.config["audit"]["strict"],
        "audited": bool(study.audit_files),
        "left_out": study.left_out(),
    }


def factors_needed(study: "Study", dataset: str) -> bool:
    """Whether a task has nothing to say of an item without factors; denoisers of values do without."""
    return any(task.needs_factors(study.asked(task, dataset)) for task in study.tasks(dataset))


def item_rank(study: "Study", dataset: str) -> int:
    """The largest rank that a task asks of the item itself, at most max_rank; 0 where none reads it."""
    wanted = [task.rank(study.asked(task, dataset)) for task in study.tasks(dataset)]
    return min(max(wanted, default=0), study.rank_limit(dataset))


def noisy_rank(study: "Study", dataset: str) -> int:
    """The same of observations with added noise."""
    wanted = [task.noisy_rank(study.asked(task, dataset)) for task in study.tasks(dataset)]
    return min(max(wanted, default=0), study.rank_limit(dataset))


def _results_config(study: "Study") -> Settings:
    """The configuration without what never changes a result."""
    silent = ("title", "datasets", "pathvars", "allow_errors", "runtime")
    config = {k: v for k, v in study.config.items() if k not in silent}
    factorize = {k: v for k, v in config["factorize"].items() if k != "precision"}
    config["factorize"] = {**factorize, **_precision(config["factorize"])}
    return {**config, "audit": {k: v for k, v in config["audit"].items() if k not in ("strict", "baseline")}}


def _rows(study: "Study") -> list[Settings]:
    """The sheet of datasets without what only places items in jobs."""
    keys = ("name", "kind", "source", "colour", "noise_sigma", "tasks", "overrides", "parameters")
    return [{key: getattr(row, key) for key in keys} for row in study.datasets.values()]


def _place(dataset: str, shard: str) -> Settings:
    return {"dataset": dataset, "shard": int(shard)}


def _files(study: "Study", dataset: str, shard: str) -> Settings:
    """The slice of the manifest: names (None where one is gone) and the digests of the contents."""
    manifest = study.manifest(dataset)
    places = study.slice(dataset, shard)
    entries = manifest.slice(places.start, places.stop)
    return {
        "folder": manifest.folder,
        "first": places.start,
        "names": [None if e.gone else e.name for e in entries],
        "files": [e.digest for e in entries],
    }


class Stage(NamedTuple):
    """What the rules that are no tasks run.

    Attributes
    ----------
    run : str
        ``"module:function"``.
    settings : function of the study, dataset, shard and method
    uses : mapping of str to Registry
        Settings that name declarations: only those count in the digest of the code.
    asks : sequence of str
        What of all tasks it calls, as fields of `Task` and `Table`.
    """

    run: str
    settings: Callable[["Study", str, str, str], Settings]
    uses: Mapping[str, Registry[Any]] = {}
    asks: Sequence[str] | None = None

    def loads(self) -> list[str]:
        """What of the tasks it calls."""
        things = [*TASKS.values(), *(table for task in TASKS.values() for table in task.tables)]
        found = {getattr(thing, name, "") for name in self.asks or () for thing in things}
        return sorted(found - {""})

    def facts(self) -> Any:
        """What it reads off the declarations of the tasks: their tables."""
        return None if self.asks is None else [facts_of(task) for task in TASKS.values()]


STAGES: dict[str, Stage] = {
    "ingest_images": Stage("svdflow.images.ingest_images:ingest_image_shard", ingest_images),
    "ingest_matrix": Stage("svdflow.matrix.ingest_matrix:ingest_matrix_shard", ingest_matrix),
    "ingest_synthetic": Stage(
        "svdflow.matrix.ingest_synthetic:ingest_synthetic", ingest_synthetic, {"family": GENERATORS}
    ),
    "factorize": Stage("svdflow.svd.factorize_shard:factorize_shard", factorize, {"method": SVD_METHODS}),
    "selfcheck": Stage("svdflow.selfcheck.audits:publish_selfcheck", selfcheck),
    "audit_own": Stage("svdflow.audit.own:audit_own", audit_own),
    "aggregate": Stage("svdflow.report.aggregate:aggregate", metrics, asks=()),
    "tables": Stage("svdflow.report.tables:write_tables", nothing, asks=("summary",)),
    "report": Stage(
        "svdflow.report.document:report_stage",
        report,
        asks=("sections", "findings", "notes", "marks", "scores"),
    ),
    "verdict": Stage("svdflow.report.verdict:write_verdict", verdict, asks=("findings", "notes")),
}
