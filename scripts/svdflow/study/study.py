"""A study: what to run on what, in which shards; all that the rules ask for."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from svdflow.errors import ConfigError
from svdflow.registry import AUDITS, DENOISERS
from svdflow.registry.limits import resolve
from svdflow.study import settings
from svdflow.study.config import complete_config, load_config, neighbour, origin
from svdflow.study.digest import audits_digest, code_digest, digest
from svdflow.study.manifest import Manifest, extents, measured, scan
from svdflow.study.outputs import check_place
from svdflow.study.refusals import refuse
from svdflow.study.sheet import Dataset, read_datasets
from svdflow.study.sizes import parse_size
from svdflow.study.suffixes import left_out, left_out_words
from svdflow.study.value_range import dataset_ranges, given_range

AUDITING = {
    "selfcheck": True,
    "audit_conditioning": False,
    "audit_own": False,
}  # rule -> of this installation
# Above these a study is refused before Snakemake builds its graph: that takes 1.6 to 2.0 ms and 13 kB a job (Snakemake
# 9.25, measured up to 120,000 jobs), so 5,000 jobs are ten seconds of every start.
MAX_JOBS = 5000
MAX_ITEMS = (
    10_000_000  # items of a dataset; its manifest is held in memory. Ten times what svdflow is made for
)
# Items of a shard: their list is a parameter of the job, which Snakemake keeps as text. Chosen
MAX_SHARD = 100_000


class Study:
    """A checked configuration with its datasets, manifests and shards.

    Parameters
    ----------
    config : mapping
        As Snakemake merged it; defaults are filled in here.
    root : Path
        Folder of the Snakefile, with the code; the paths that a study names are relative to
        the working directory.
    files : sequence of path
        The configuration files, for messages.

    Raises
    ------
    ConfigError
        Before any job: unknown keys, wrong values, missing folders, more jobs than a DAG should hold.
    """

    def __init__(self, config: Mapping[str, Any], root: Path, files: Sequence[str | Path] = ()) -> None:
        self.root, self._given, self._files = root, config, files
        self.config = complete_config(config, files)
        self.results = Path(self.config["pathvars"]["results"])
        self.datasets: dict[str, Dataset] = read_datasets(Path(self.config["datasets"]))
        self._manifests: dict[str, Manifest] = {}
        self._ranges: dict[str, list[list[Any]]] = {}  # asked for by every job
        self._codes: dict[str, str] = {}
        self._left_out: list[str] | None = None
        self._check_results()
        self._check_sources()
        check_place(self)
        self._check_audits()
        self._check_jobs()

    @classmethod
    def load(cls, root: Path, study: str | Path | None = None) -> "Study":
        """The study of ``config/config.yaml``, with the file `study` laid over it."""
        files = [root / "config" / "config.yaml", *([Path(study)] if study else [])]
        return cls(load_config(files), root, files)

    # -- shards -------------------------------------------------------------------------------------------

    def manifest(self, dataset: str) -> Manifest:
        """The files of a dataset as they are now (images and matrices)."""
        if dataset not in self._manifests:
            self._manifests[dataset] = scan(self.datasets[dataset], self.root, self.manifest_path(dataset))
        return self._manifests[dataset]

    def value_ranges(self, dataset: str) -> list[list[Any]]:
        """The range that PSNR and SSIM of a dataset refer to: kind of samples, range and source for each kind.

        What the sheet says, else what the image files say and hold; empty where every matrix has its own. Images that
        are not of 8 bits are decoded once, and the manifest keeps what was found.
        """
        if dataset not in self._ranges:
            self._ranges[dataset] = self._value_ranges(self.datasets[dataset])
        return self._ranges[dataset]

    def _value_ranges(self, row: Dataset) -> list[list[Any]]:
        if "data_range" in row.overrides:
            return given_range(row.overrides["data_range"])
        if row.kind != "images":
            return []
        limit = self.config["ingest"]["pixel_limit"]
        self._manifests[row.name] = measured(self.manifest(row.name), limit, row.colour == "channels")
        return dataset_ranges(extents(self._manifests[row.name]))

    def manifest_path(self, dataset: str) -> Path:
        return self.results / "manifests" / f"{dataset}.tsv"

    def count(self, dataset: str) -> int:
        """Number of items, gone ones included, for they keep their place."""
        row = self.datasets[dataset]
        return row.replicates if row.kind == "synthetic" else len(self.manifest(dataset).entries)

    def shard_count(self, dataset: str) -> int:
        return -(-self.count(dataset) // self.datasets[dataset].shard_size)

    def shards(self, dataset: str) -> list[str]:
        """The five-digit names of a dataset's shards."""
        return [f"{i:05d}" for i in range(self.shard_count(dataset))]

    def slice(self, dataset: str, shard: str) -> range:
        """Indices of the items of a shard."""
        size = self.datasets[dataset].shard_size
        return range(int(shard) * size, min((int(shard) + 1) * size, self.count(dataset)))

    def named(self, kind: str | None = None, task: str | None = None) -> list[str]:
        """Names of the datasets of a kind, or with a task."""
        rows = self.datasets.values()
        return [r.name for r in rows if kind in (None, r.kind) and (task is None or task in r.tasks)]

    def methods(self, dataset: str) -> list[str]:
        """The denoisers that run on a dataset: its own, or those of the config that apply to its kind."""
        row = self.datasets[dataset]
        methods = row.overrides.get("methods", self.config["denoise"]["methods"])
        return [method for method in methods if row.kind in DENOISERS[method].applies_to]

    @property
    def all_methods(self) -> list[str]:
        """Every denoiser that runs on some dataset."""
        return sorted({m for name in self.named(task="denoise") for m in self.methods(name)})

    @property
    def audit_files(self) -> list[str]:
        """Files of audits that belong to no dataset: of this installation if any asks for audits, of own functions."""
        selfcheck = ["selfcheck.h5"] if self.named(task="audit") else []
        return selfcheck + (["audit/own.h5"] if self.config["audit"]["functions_file"] else [])

    def left_out(self) -> list[str]:
        """Files of picture folders that are not read, a line a dataset; patterns leave out what they are meant to."""
        if self._left_out is not None:
            return self._left_out
        folders = {name: Path(self.datasets[name].source) for name in self.named(kind="images")}
        words = {name: left_out_words(left_out(path)) for name, path in folders.items() if path.is_dir()}
        self._left_out = [f"left out of {name}: {said}" for name, said in words.items() if said]
        return self._left_out

    def notes(self) -> list[str]:
        """What a user should know before the run: files that are not read, ranks that will not be reached."""
        found = [*self.left_out()]
        for name, row in self.datasets.items():
            cap = row.overrides.get("max_rank", self.config["factorize"]["max_rank"])
            for stage in ("compress", "denoise"):
                ranks = row.overrides.get("ranks", self.config[stage]["ranks"])
                beyond = [str(rank) for rank in ranks if rank > cap]
                if beyond and stage in row.tasks:
                    found.append(
                        f"dataset '{name}': {stage} asks for rank {', '.join(beyond)}, and factorize.max_rank caps it "
                        f"at {cap}; such rows hold rank {cap} and say that they did not reach their target"
                    )
        return found

    # -- what a rule carries ------------------------------------------------------------------------------

    def settings(self, stage: str, dataset: str = "", shard: str = "", method: str = "") -> dict[str, Any]:
        """Everything that shapes the result of a job, as plain builtins that Snakemake tracks."""
        return settings.STAGES[stage](self, dataset, shard, method)

    def code(self, rule: str) -> str:
        """Digest of the code that the rule's adapter reaches, and of the audits that it finds by their declarations."""
        if rule not in self._codes:
            scripts = self.root / "scripts"
            found = [code_digest(rule, scripts)]
            if rule in AUDITING:
                of_rule = [audit for audit in AUDITS.values() if audit.selfcheck == AUDITING[rule]]
                found.append(audits_digest(of_rule, scripts))
            self._codes[rule] = digest(found)
        return self._codes[rule]

    @property
    def memory_mb(self) -> int:
        """Megabytes that a job is given: runtime.memory_limit, or 2000."""
        size = parse_size(self.config["runtime"]["memory_limit"])
        return 2000 if size is None else max(1, size // 2**20)

    # -- files --------------------------------------------------------------------------------------------

    def stages(self, dataset: str) -> list[tuple[str, str]]:
        """The stage files that every shard of a dataset has, as (stage, folder below it)."""
        tasks = self.datasets[dataset].tasks
        stages = [("matrices", dataset), ("factors", dataset)]
        if "compress" in tasks:
            stages.append(("compress", dataset))
        if "denoise" in tasks:
            stages += [("denoise", f"{dataset}/{method}") for method in self.methods(dataset)]
        return stages + [(task, dataset) for task in ("encode", "audit") if task in tasks]

    def parts(self) -> Iterator[tuple[str, str, str]]:
        """Every stage file that the metrics gather, as (stage, folder below it, shard)."""
        for name in self.datasets:
            stages = self.stages(name)
            for shard in self.shards(name):
                yield from ((stage, folder, shard) for stage, folder in stages)

    @property
    def jobs(self) -> int:
        """Number of jobs of a run from nothing, the gathering ones left out."""
        return sum(self.shard_count(name) * len(self.stages(name)) for name in self.datasets)

    def where(self, *path: str) -> str:
        """The file in which a key was written, and the key, for messages."""
        return f"{origin(path, self._given, self._files)}: '{'.'.join(path)}'"

    def _check_results(self) -> None:
        """Refuse a folder that a disk without case would take for another one."""
        folder = self.results
        if folder.exists() or not folder.parent.is_dir():
            return
        twin = [p for p in folder.parent.iterdir() if p.name.lower() == folder.name.lower() and p.is_dir()]
        if twin:
            raise ConfigError(
                f"{self.where('pathvars', 'results')} is '{folder}', and '{twin[0]}' exists, which differs in case "
                "only; name the folder as it is, or another one"
            )

    def _check_sources(self) -> None:
        messages = []
        for name, row in self.datasets.items():
            try:
                if row.kind != "synthetic":
                    self.manifest(name)
                if row.noise_sigma and "denoise" not in row.tasks:
                    messages.append(
                        f"dataset '{name}': noise_sigma is given, but 'denoise' is not among its tasks"
                    )
                if "denoise" in row.tasks and not self.methods(name):
                    messages.append(
                        f"dataset '{name}': none of denoise.methods applies to kind {row.kind}; give it methods=..."
                    )
            except ConfigError as error:
                messages += str(error).splitlines()
        refuse(messages)

    def _check_audits(self) -> None:
        keys = self.config["audit"]
        for key in ("functions_file", "baseline"):
            path = Path(keys[key])
            if keys[key] and not path.is_file():
                raise ConfigError(
                    f"{self.where('audit', key)} is {keys[key]!r}; there is no such file{neighbour(path)}"
                )
        if bool(keys["functions"]) != bool(keys["functions_file"]):
            raise ConfigError(
                f"{self.where('audit', 'functions')} and 'audit.functions_file' go together: which, and where"
            )
        try:
            resolve(settings.thresholds(self))
        except ValueError as error:
            raise ConfigError(f"{self.where('audit', 'thresholds')}: {error}") from error

    def _check_jobs(self) -> None:
        """Refuse more than can be planned, by the numbers alone: nothing is listed that may be too long."""
        for name, row in self.datasets.items():
            count = self.count(name)
            if count > MAX_ITEMS:
                raise ConfigError(
                    f"dataset '{name}' has {count:,} items, more than {MAX_ITEMS:,}; split it, or ask for fewer"
                )
            if min(count, row.shard_size) > MAX_SHARD:
                raise ConfigError(
                    f"dataset '{name}' has shard_size {row.shard_size:,}, more than {MAX_SHARD:,}; lower it"
                )
        if self.jobs > MAX_JOBS:
            jobs = {name: self.shard_count(name) * len(self.stages(name)) for name in self.datasets}
            worst = max(jobs, key=lambda name: jobs[name])
            room = max(1, (MAX_JOBS - self.jobs + jobs[worst]) // len(self.stages(worst)))
            raise ConfigError(
                f"{self.jobs} jobs are more than {MAX_JOBS}; dataset '{worst}' has shard_size "
                f"{self.datasets[worst].shard_size}, {-(-self.count(worst) // room)} would do"
            )
