"""A real Slurm on this machine, of one node that pretends to have 8 CPUs and 2 GPUs, for as long as a test needs it."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "squeue", "scancel", "scontrol")
MARK = "# made by the tests of svdflow, and removed by them\n"
CPUS, GPUS = 8, 2
# Jobs lose SLURM_CONF on their way (the executor of job steps clears SLURM_*), so the files stand where Slurm looks.
SLURM_CONF = """\
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
StateSaveLocation={state}/state
SlurmdSpoolDir={state}/spool
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:fake:{gpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=500
"""


# slurmd reads it though nothing is confined; "disabled" is a word of later versions than Debian 12's 22.05.
CGROUP_CONF = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"


def why_not() -> str:
    """Why no Slurm can be started here; empty where it can."""
    if missing := [name for name in PROGRAMS if not _found(name)]:
        return f"Slurm is not installed ({', '.join(missing)} missing); '.ci/run --slurm' installs it"
    if os.geteuid():
        return "needs root"
    # What a killed run of these tests left is theirs, and written over.
    if there := [
        name for name in FILES if (CONFIGURATION / name).exists() and not _ours(CONFIGURATION / name)
    ]:
        return f"{CONFIGURATION / there[0]} exists: this machine belongs to a cluster"
    return ""


def _ours(path: Path) -> bool:
    return path.read_text(errors="replace").startswith(MARK)


def _found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def single_node() -> Iterator["Slurm"]:
    """The cluster, up and idle; at the end its jobs, daemons and files are gone."""
    with tempfile.TemporaryDirectory(prefix="svdflow-slurm-") as folder:
        slurm = Slurm(Path(folder))
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.end()


class Slurm:
    """The daemons and what can be asked of them."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.state / name).mkdir()
        os.chmod(self.state, 0o755)
        memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.8) // 2**20
        host = socket.gethostname().partition(".")[0]
        text = SLURM_CONF.format(host=host, state=self.state, cpus=CPUS, gpus=GPUS, memory=memory)
        devices = ("/dev/null", "/dev/zero")  # of GPUs Slurm looks at nothing but whether a file is there
        gres = [f"NodeName={host} Name=gpu Type=fake File={device}\n" for device in devices]
        for name, content in zip(FILES, (text, "".join(gres), CGROUP_CONF), strict=True):
            (CONFIGURATION / name).write_text(MARK + content)
        if not Path("/run/munge/munge.socket.2").exists():
            Path("/run/munge").mkdir(exist_ok=True)
            shutil.chown("/run/munge", "munge", "munge")
            self._daemon("munged", "--foreground", before=["runuser", "-u", "munge", "--"])
            self._until(lambda: Path("/run/munge/munge.socket.2").exists(), "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", host)
        self._until(lambda: self.ask("sinfo", "-h", "-o", "%T").strip() == "idle", "an idle node")

    def end(self) -> None:
        """End jobs and daemons, and remove the files that `start` wrote."""
        if self._daemons:
            subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=30, check=False)
            deadline = time.monotonic() + 20
            while self.queue() and time.monotonic() < deadline:
                time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for name in FILES:
            path = CONFIGURATION / name
            if path.exists() and _ours(path):
                path.unlink()

    def alive(self) -> list[int]:
        """Process ids of daemons that run."""
        return [daemon.pid for daemon in self._daemons if daemon.poll() is None]

    def queue(self) -> list[str]:
        """Names of the jobs that wait or run."""
        return self.ask("squeue", "-h", "-t", "PENDING,RUNNING,COMPLETING", "-o", "%i %j").splitlines()

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that the controller remembers, by the keys of ``scontrol show job``."""
        lines = self.ask("scontrol", "show", "job", "--oneliner").splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]

    def ask(self, *words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout

    def _daemon(self, name: str, *words: str, before: list[str] | None = None) -> None:
        with (self.state / f"{name}.out").open("ab") as log:
            command = [*(before or []), _found(name) or name, *words]
            self._daemons.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def _until(self, there, what: str) -> None:
        deadline = time.monotonic() + 30
        while not there():
            if time.monotonic() > deadline:
                logs = "\n".join(
                    path.read_text(errors="replace")[-2000:] for path in self.state.glob("*.[ol]*")
                )
                raise RuntimeError(f"{what}: not within 30 seconds\n{logs}")
            time.sleep(0.1)
