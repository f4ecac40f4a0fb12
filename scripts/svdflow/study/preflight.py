"""What would make a run on Slurm wait for ever or fail at its first job, found before anything is submitted."""

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from svdflow.errors import ConfigError

PROFILES = ("profile.yaml", "config.yaml")  # names of a profile's file, the first since Snakemake 9.19
DEFAULT = "profiles/default"  # what Snakemake takes where no other is named
ANSWER = 20.0  # seconds that the controller of a cluster may take. Chosen
# File systems that are disks of one machine, as far as their name tells; others are taken for shared ones
LOCAL = ("btrfs", "ext2", "ext3", "ext4", "overlay", "ramfs", "tmpfs", "xfs")
MIN_JOB_AGE = 120  # seconds for which squeue must know a job that ended (documentation of the executor)


def preflight(words: Sequence[str], config: Mapping[str, Any], results: Path) -> list[str]:
    """Check what Snakemake is told by `words` before it starts.

    Returns
    -------
    notes : list of str
        What may be wrong, and cannot be known from here; empty where jobs run on this machine.

    Raises
    ------
    ConfigError
        Something is missing, or would be waited for without end; it names it and what to do.
    """
    settings = told(words)
    if settings.get("executor") != "slurm":
        return []
    if find_spec("snakemake_executor_plugin_slurm") is None:
        raise ConfigError("the executor for Slurm is not installed; run 'make setup EXTRAS=cluster'")
    if shutil.which("sbatch") is None:
        raise ConfigError("there is no sbatch here; run this on the login node of the cluster")
    if config["runtime"]["backend"] == "cupy" and find_spec("cupy") is None:
        raise ConfigError(
            "'runtime.backend' is 'cupy', and every job would find CuPy missing; run 'make setup EXTRAS=cuda12' "
            "(or cuda13) here, where no GPU is needed for it"
        )
    cluster = _configuration()
    notes = []
    status = settings.get("slurm-status-command") or ("sacct" if shutil.which("sacct") else "squeue")
    if status == "sacct" and cluster.get("AccountingStorageType") == "accounting_storage/none":
        raise ConfigError(
            "Snakemake would ask sacct what became of its jobs, and accounting is off on this cluster: it would wait "
            "for ever; set 'slurm-status-command: squeue' in the profile"
        )
    age = cluster.get("MinJobAge", "").split()
    if status == "squeue" and age and age[0].isdigit() and int(age[0]) < MIN_JOB_AGE:
        notes.append(
            f"this cluster forgets jobs {age[0]} s after their end (MinJobAge), and squeue must know them for "
            f"{MIN_JOB_AGE} s; with accounting use 'slurm-status-command: sacct'"
        )
    for place in dict.fromkeys([Path.cwd(), results.absolute()]):
        kind = filesystem(place)
        if kind in LOCAL and _nodes() - {platform.node().partition(".")[0]}:
            notes.append(
                f"{place} is on {kind}, as disks of one machine are; jobs run on other nodes and must see it there"
            )
    return notes


def told(words: Sequence[str]) -> dict[str, Any]:
    """What Snakemake's words and the profiles that they name set, by the names of its options; the words win."""
    given: dict[str, Any] = {}
    names = {"-e": "executor"}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        name = names.get(name, name.removeprefix("--"))
        if name in ("executor", "profile", "workflow-profile", "slurm-status-command"):
            given[name] = value if equals else next(iter(words[place + 1 :]), "")
    found: dict[str, Any] = {}
    for profile in (given.get("profile"), given.get("workflow-profile", DEFAULT)):
        found |= _profile(Path(profile)) if profile else {}
    return found | given


def _profile(folder: Path) -> dict[str, Any]:
    for name in PROFILES:
        if (folder / name).is_file():
            try:
                content = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):
                return {}  # Snakemake says what is wrong with it
            return content if isinstance(content, dict) else {}
    return {}


def _configuration() -> dict[str, str]:
    """Settings of the cluster, by name."""
    try:
        done = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, timeout=ANSWER, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"Slurm's controller does not answer ('scontrol show config': {error}); nothing could be submitted"
        ) from error
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _nodes() -> set[str]:
    """Names of the nodes; empty where the cluster does not tell."""
    try:
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N"], capture_output=True, text=True, timeout=ANSWER, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return set()
    return set(done.stdout.split())


def filesystem(path: Path) -> str:
    """Type of the file system that a path is on, or would be; empty where the kernel does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = {fields[1]: fields[2] for line in lines if len(fields := line.split()) > 2}
    resolved = path.resolve()
    return next((mounts[str(p)] for p in (resolved, *resolved.parents) if str(p) in mounts), "")
