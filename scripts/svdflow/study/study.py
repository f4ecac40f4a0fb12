"""A study: what to run on what, in which shards; all that the rules ask for."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from svdflow.errors import ConfigError
from svdflow.registry import AUDITS, SVD_METHODS, TASKS, Asked, Registry, Task, svd_methods_for
from svdflow.registry.limits import resolve
from svdflow.registry.refusals import refuse
from svdflow.study import settings
from svdflow.study.config import complete_config, load_config, neighbour, origin
from svdflow.study.digest import code_digest, facts_of
from svdflow.study.manifest import believed, digested, extents, measured, scan
from svdflow.study.manifest_file import BelievedManifest, Manifest, write
from svdflow.study.outputs import check_place
from svdflow.study.resources import Resources
from svdflow.study.sheet import Dataset, read_datasets
from svdflow.study.suffixes import left_out, left_out_words
from svdflow.study.value_range import dataset_ranges, given_range

ADAPTER = "svdflow.compute.runtime:run_job"  # what scripts/job.py calls
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
    in_job : bool
        The study was checked and its manifests were written before this job: both are believed.

    Raises
    ------
    ConfigError
        Before any job: unknown keys, wrong values, missing folders, more jobs than a DAG should hold.
    """

    def __init__(
        self, config: Mapping[str, Any], root: Path, files: Sequence[str | Path] = (), *, in_job: bool = False
    ) -> None:
        self.root, self._given, self._files = root, config, files
        self.config = complete_config(config, files)
        self.results = Path(self.config["pathvars"]["results"])
        self.datasets: dict[str, Dataset] = read_datasets(Path(self.config["datasets"]))
        self._in_job = in_job
        self._listed: dict[str, Manifest] = {}
        self._manifests: dict[str, Manifest | BelievedManifest] = {}
        self._ranges: dict[str, list[list[Any]]] = {}  # asked for by every job
        self._codes: dict[str, str] = {}
        self._left_out: list[str] | None = None
        self.resources = Resources(self)
        if in_job:
            return
        self._check_results()
        self._check_sources()
        self._check_jobs()
        check_place(self)
        self._check_audits()

    @classmethod
    def load(cls, root: Path, study: str | Path | None = None) -> "Study":
        """The study of ``config/config.yaml``, with the file `study` laid over it."""
        files = [root / "config" / "config.yaml", *([Path(study)] if study else [])]
        return cls(load_config(files), root, files)

    # -- shards -------------------------------------------------------------------------------------------

    def listed(self, dataset: str) -> Manifest:
        """The files of a dataset as they are now (images, matrices), new and changed ones without digests."""
        if dataset not in self._listed:
            self._listed[dataset] = scan(self.datasets[dataset], self.root, self.manifest_path(dataset))
        return self._listed[dataset]

    def manifest(self, dataset: str) -> Manifest | BelievedManifest:
        """The files of a dataset with their digests."""
        if dataset not in self._manifests:
            if self._in_job:
                row = self.datasets[dataset]
                self._manifests[dataset] = believed(row, self.root, self.manifest_path(dataset))
            else:
                self._listed[dataset] = self._manifests[dataset] = digested(self.listed(dataset))
        return self._manifests[dataset]

    def write_manifests(self) -> None:
        """Fix the order of the files, and what was found of them; raises as `write`."""
        for name in self.named("images") + self.named("matrix"):
            if any(task.judged for task in self.tasks(name)):
                self.value_ranges(name)  # the manifest keeps what the images span
            manifest = self.manifest(name)
            if isinstance(manifest, Manifest):
                write(manifest, self.manifest_path(name))

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
        manifest = self.manifest(row.name)
        if isinstance(manifest, Manifest):
            manifest = self._manifests[row.name] = measured(manifest, limit, row.colour == "channels")
        return dataset_ranges(extents(manifest))

    def manifest_path(self, dataset: str) -> Path:
        return self.results / "manifests" / f"{dataset}.tsv"

    def count(self, dataset: str) -> int:
        """Number of items, gone ones included, for they keep their place."""
        row = self.datasets[dataset]
        return row.replicates if row.kind == "synthetic" else len(self._files_of(dataset))

    def _files_of(self, dataset: str) -> Manifest | BelievedManifest:
        return self.manifest(dataset) if self._in_job else self.listed(dataset)

    def shard_size(self, dataset: str) -> int:
        """Items of a shard: what the sheet says, else what the first plan chose, which the manifest keeps."""
        row = self.datasets[dataset]
        return row.shard_size or (1 if row.kind == "synthetic" else self._files_of(dataset).shard_size)

    def shard_count(self, dataset: str) -> int:
        return -(-self.count(dataset) // self.shard_size(dataset))

    def shards(self, dataset: str) -> list[str]:
        """The five-digit names of a dataset's shards."""
        return [f"{i:05d}" for i in range(self.shard_count(dataset))]

    def slice(self, dataset: str, shard: str) -> range:
        """Indices of the items of a shard."""
        size = self.shard_size(dataset)
        return range(int(shard) * size, min((int(shard) + 1) * size, self.count(dataset)))

    def named(self, kind: str | None = None, task: str | None = None) -> list[str]:
        """Names of the datasets of a kind, or with a task."""
        rows = self.datasets.values()
        return [r.name for r in rows if kind in (None, r.kind) and (task is None or task in r.tasks)]

    def tasks(self, dataset: str) -> list[Task]:
        """What a dataset asks for, in the order of the declarations."""
        return [task for task in TASKS.values() if task.name in self.datasets[dataset].tasks]

    def rank_limit(self, dataset: str) -> int:
        """The largest rank that is factorized of a dataset."""
        return self.datasets[dataset].overrides.get("max_rank", self.config["factorize"]["max_rank"])

    def methods(self, task: Task, dataset: str) -> list[str]:
        """Of the methods that a task is split by, those that apply to the kind of a dataset; one job a method."""
        if task.methods is None:
            return []
        row = self.datasets[dataset]
        named = row.overrides.get("methods", self.config[task.key]["methods"])
        return [name for name in named if row.kind in task.methods[name].applies_to]

    def asked(self, task: Task, dataset: str, method: str = "", shard: str = "") -> Asked:
        """What a task is asked on a dataset, for its declaration to answer."""
        return Asked(
            row=self.datasets[dataset],
            config=self.config,
            section=task.key,
            rank_limit=self.rank_limit(dataset),
            methods=self.methods(task, dataset),
            method=method,
            items=self.slice(dataset, shard) if shard else range(0),
        )

    def all_tasks(self) -> list[Task]:
        """Every task that some dataset asks for."""
        return [task for task in TASKS.values() if self.named(task=task.name)]

    def all_methods(self, task: Task) -> list[str]:
        """Every method of a task that runs on some dataset."""
        return sorted({m for name in self.named(task=task.name) for m in self.methods(task, name)})

    @property
    def audit_files(self) -> list[str]:
        """Files of audits that belong to no dataset: of this installation if any asks for audits, of own functions."""
        selfcheck = ["selfcheck.h5"] if any(task.selfcheck for task in self.all_tasks()) else []
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
        for name in self.datasets:
            cap = self.rank_limit(name)
            for task in self.tasks(name):
                ranks = self.asked(task, name).options.get("ranks", ())
                if beyond := [str(rank) for rank in ranks if rank > cap]:
                    found.append(
                        f"dataset '{name}': {task.name} asks for rank {', '.join(beyond)}, and factorize.max_rank "
                        f"caps it at {cap}; such rows hold rank {cap} and say that they did not reach their target"
                    )
        return found

    # -- what a rule carries ------------------------------------------------------------------------------

    def settings(self, stage: str, dataset: str = "", shard: str = "", method: str = "") -> dict[str, Any]:
        """Everything that shapes the result of a job, as plain builtins that Snakemake tracks."""
        if stage in TASKS:
            return settings.of_task(TASKS[stage], self, dataset, shard, method)
        return settings.STAGES[stage].settings(self, dataset, shard, method)

    def run(self, stage: str) -> str:
        """What the rule of a stage or task runs, ``"module:function"``."""
        return TASKS[stage].load if stage in TASKS else settings.STAGES[stage].run

    def code(self, stage: str, dataset: str = "", shard: str = "", method: str = "") -> str:
        """Digest of the code that a job reaches with its settings."""
        # What an audit of data runs and whose limits it reads; selfcheck runs the rest, and plants faults in them all.
        examined = ("matrix", "function") if stage == "audit_own" else ("matrix", "factors")
        chosen = {
            "audits": [a.name for a in AUDITS.values() if stage == "selfcheck" or a.examines in examined]
        }
        if stage in TASKS:
            task = TASKS[stage]
            loads, uses, facts = [task.load], task.uses, facts_of(task)
            chosen |= {table.folder: [] for table in task.unused}
        else:
            known = settings.STAGES[stage]
            loads, uses, facts = [known.run, *known.loads()], known.uses, known.facts()
        given = self.settings(stage, dataset, shard, method) if uses else {}
        chosen |= {table.folder: as_names(table, given[key]) for key, table in uses.items()}
        key = repr((stage, sorted(chosen.items())))
        if key not in self._codes:
            self._codes[key] = code_digest([ADAPTER, *loads], self.root / "scripts", chosen, facts)
        return self._codes[key]

    # -- files --------------------------------------------------------------------------------------------

    def stages(self, dataset: str) -> list[str]:
        """Folders below the results that hold a file for every shard of a dataset."""
        places = [f"matrices/{dataset}", f"factors/{dataset}"]
        for task in self.tasks(dataset):
            for method in self.methods(task, dataset) or [""]:
                places.append(task.pattern.format(dataset=dataset, method=method))
        return places

    def parts(self) -> Iterator[tuple[str, str]]:
        """Every stage file that the metrics gather, as (folder below the results, shard)."""
        for name in self.datasets:
            stages = self.stages(name)
            for shard in self.shards(name):
                yield from ((folder, shard) for folder in stages)

    def left_folders(self) -> Iterator[str]:
        """Every folder below the results that a task publishes whole beside its tables."""
        for name in self.datasets:
            for shard in self.shards(name):
                for task in self.tasks(name):
                    for method in self.methods(task, name) or [""]:
                        for pattern in task.leaves.values():
                            yield pattern.format(dataset=name, shard=shard, method=method)

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
                    self.listed(name)
                tasks = self.tasks(name)
                noisy = [task.name for task in TASKS.values() if task.noisy]
                if row.noise_sigma and not set(noisy) & {task.name for task in tasks}:
                    messages.append(
                        f"dataset '{name}': noise_sigma is given, but {' or '.join(map(repr, noisy))} is not among its "
                        "tasks"
                    )
                messages += [
                    f"dataset '{name}': none of {task.key}.methods applies to kind {row.kind}; give it methods=..."
                    for task in tasks
                    if task.methods is not None and not self.methods(task, name)
                ]
                messages += [
                    f"dataset '{name}': task '{task.name}' is for kind {' or '.join(task.applies_to)}, not {row.kind}"
                    for task in tasks
                    if row.kind not in task.applies_to
                ]
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
        for name in self.datasets:
            count, size = self.count(name), self.shard_size(name)
            if count > MAX_ITEMS:
                raise ConfigError(
                    f"dataset '{name}' has {count:,} items, more than {MAX_ITEMS:,}; split it, or ask for fewer"
                )
            if min(count, size) > MAX_SHARD:
                raise ConfigError(
                    f"dataset '{name}' has shard_size {size:,}, more than {MAX_SHARD:,}; lower it"
                )
        if self.jobs > MAX_JOBS:
            jobs = {name: self.shard_count(name) * len(self.stages(name)) for name in self.datasets}
            worst = max(jobs, key=lambda name: jobs[name])
            room = max(1, (MAX_JOBS - self.jobs + jobs[worst]) // len(self.stages(worst)))
            raise ConfigError(
                f"{self.jobs} jobs are more than {MAX_JOBS}; dataset '{worst}' has shard_size "
                f"{self.shard_size(worst)}, {-(-self.count(worst) // room)} would do"
            )


def as_names(table: Registry[Any], value: Any) -> list[str]:
    """The names in a setting that chooses from a registry: one, a list of them, or all that ``auto`` may choose."""
    if table is SVD_METHODS:
        return [one.name for one in svd_methods_for(value)]
    return [value] if isinstance(value, str) else list(value)
