"""What shapes the result of each stage: the one place that turns configuration into parameters of a rule.

Snakemake reruns a job when these change, so they hold plain builtins and nothing that does not shape the
result. Runtime settings (threads, memory, engine, backend) are not here.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from svdflow.registry import DENOISERS
from svdflow.study.digest import digest
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
        "with_clean": "denoise" in row.tasks,
    }


def factorize(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    row, keys = study.datasets[dataset], study.config["factorize"]
    return {
        **_place(dataset, shard),
        "item_rank": item_rank(study, dataset),
        "noisy_rank": noisy_rank(study, dataset),
        "seed": study.config["seed"],
        **{key: row.overrides.get(key, keys[key]) for key in ("method", "tol", "center")},
        "refuse_masked": factors_needed(study, dataset),
    }


def compress(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    keys = study.config["compress"]
    return {
        **_place(dataset, shard),
        **_asked(study, dataset),
        "rank_rules": keys["rank_rules"],
        "metrics": keys["metrics"],
        "data_range": study.value_ranges(dataset),
    }


def _asked(study: "Study", dataset: str) -> Settings:
    row, keys = study.datasets[dataset], study.config["compress"]
    return {
        key: row.overrides.get(key, keys[key]) for key in ("ranks", "energies", "powers_of_two", "images")
    }


def denoise(study: "Study", dataset: str, shard: str, method: str) -> Settings:
    row, keys = study.datasets[dataset], study.config["denoise"]
    declared = DENOISERS[method]
    shared = {
        key: keys[key] for key in declared.options.model_fields if key in keys
    }  # `passes` of the section
    options = declared.options(**{**shared, **keys["options"].get(method, {})}).model_dump()
    spectral = {
        "ranks": row.overrides.get("ranks", keys["ranks"]),
        "rank_rules": [] if declared.rule else keys["rank_rules"],
        "loss": keys["loss"] if method == "shrink" else "frobenius",
    }
    return {
        **_place(dataset, shard),
        "method": method,
        "seed": study.config["seed"],
        "sigma": row.overrides.get("sigma", 0.0),
        "poisson": row.overrides.get("poisson", False),
        "data_range": study.value_ranges(dataset),
        **(spectral if by_factors(method) else {"ranks": [], "rank_rules": [], "loss": "frobenius"}),
        **({"options": options} if options else {}),
    }


def encode(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    row, keys = study.datasets[dataset], study.config["encode"]
    return {
        **_place(dataset, shard),
        "target": row.overrides.get("target", keys["target"]),
        "forms": keys["forms"],
        "codecs": keys["codecs"],
        "seed": study.config["seed"],
        "data_range": study.value_ranges(dataset),
    }


def audit_conditioning(study: "Study", dataset: str, shard: str, _: str) -> Settings:
    keys = study.config["audit"]
    audited = _sampled(study.count(dataset), keys["sample"])
    return {
        **_place(dataset, shard),
        "items": [i for i in study.slice(dataset, shard) if i in audited],
        "full_up_to": keys["full_up_to"],
        "thresholds": thresholds(study),
    }


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
    table = study.config["audit"]["thresholds"]
    return {
        f"{audit}.{key}": value
        for audit, keys in sorted(table.items())
        for key, value in sorted(keys.items())
    }


def metrics(study: "Study", *_: str) -> Settings:
    return {"seed": study.config["seed"], "config_digest": digest([_results_config(study), _rows(study)])}


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


def by_factors(method: str) -> bool:
    """Whether a denoiser changes the stored singular values; the others work on values."""
    return DENOISERS[method].works_on == "factors"


def factors_needed(study: "Study", dataset: str) -> bool:
    """Whether a stage has nothing to say of an item without factors; denoisers of values do without."""
    tasks = study.datasets[dataset].tasks
    spectral = "denoise" in tasks and any(by_factors(method) for method in study.methods(dataset))
    return spectral or "compress" in tasks or "audit" in tasks


def item_rank(study: "Study", dataset: str) -> int:
    """The largest rank that a stage asks of the item itself, at most max_rank; 0 where none reads it."""
    row = study.datasets[dataset]
    cap = row.overrides.get("max_rank", study.config["factorize"]["max_rank"])
    wanted = [0]
    if "compress" in row.tasks or "audit" in row.tasks:
        asked = _asked(study, dataset)
        wanted += asked["ranks"] + ([cap] if asked["powers_of_two"] else [])
    if "denoise" in row.tasks and not row.noise_sigma:
        wanted.append(cap)
    return min(max(wanted), cap)


def noisy_rank(study: "Study", dataset: str) -> int:
    """The rank stored of observations with added noise; rank rules need all that may rise above the noise."""
    row = study.datasets[dataset]
    cap = row.overrides.get("max_rank", study.config["factorize"]["max_rank"])
    return cap if "denoise" in row.tasks and row.noise_sigma else 0


def _results_config(study: "Study") -> Settings:
    """The configuration without what never changes a result."""
    silent = ("title", "datasets", "pathvars", "allow_errors", "runtime")
    config = {k: v for k, v in study.config.items() if k not in silent}
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
    entries = [manifest.entries[i] for i in places]
    return {
        "folder": manifest.folder,
        "first": places.start,
        "names": [None if e.gone else e.name for e in entries],
        "files": [e.digest for e in entries],
    }


def _sampled(count: int, sample: int) -> set[int]:
    """Indices of the audited items: the first ones, which stay the same as items are added."""
    return set(range(min(count, sample)))


STAGES: dict[str, Callable[["Study", str, str, str], Settings]] = {
    "ingest_images": ingest_images,
    "ingest_matrix": ingest_matrix,
    "ingest_synthetic": ingest_synthetic,
    "factorize": factorize,
    "compress": compress,
    "denoise": denoise,
    "encode": encode,
    "audit_conditioning": audit_conditioning,
    "selfcheck": selfcheck,
    "audit_own": audit_own,
    "metrics": metrics,
    "report": report,
    "verdict": verdict,
}
