"""Which dask cluster a study asks for, and what is wrong with it before any job starts."""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address

LOCAL, CUDA, SRUN, ADDRESS, FILE = "local", "cuda", "srun", "address", "file"
# Module that a kind of cluster needs -> what to install for it.
NEEDS = {
    "distributed": "the extra 'cluster'",
    "dask_cuda": "dask-cuda, of the version that fits CUDA here",
    "dask_jobqueue": "the extra 'cluster'",
}


def kind_of(cluster: str) -> str:
    """``local``, ``cuda``, ``srun``, ``address`` or ``file``."""
    if cluster in (LOCAL, CUDA, SRUN):
        return cluster
    return ADDRESS if "://" in cluster else FILE


def refuse_cluster(cluster: str, tls: Mapping[str, str], *, allow_plain: bool) -> None:
    """Raise ValueError for a cluster that cannot be reached as written, or by anybody.

    Parameters
    ----------
    cluster : str
        A kind that is started, the address of a scheduler, or its scheduler file.
    tls : mapping
        Files by the name of their option: authority, certificate and key; empty where there are none.
    allow_plain : bool
        Whether connections beyond this machine may go without TLS.
    """
    kind = kind_of(cluster)
    needed = {CUDA: ["dask_cuda"], SRUN: ["dask_jobqueue"]}.get(kind, [])
    for module in ("distributed", *needed):
        if find_spec(module) is None:
            raise ValueError(f"engine dask on cluster {cluster!r} needs {module}; install {NEEDS[module]}")
    given = [name for name, file in tls.items() if file]
    if given and len(given) < len(tls):
        missing = ", ".join(name for name in tls if name not in given)
        raise ValueError(f"{given[0]} is set, and not {missing}; TLS takes all of {', '.join(tls)}")
    for name in given:
        if not os.path.isfile(tls[name]):
            raise ValueError(f"{name} is {tls[name]!r}; no such file")
    if kind in (ADDRESS, FILE):
        _refuse_address(address_of(cluster), given, allow_plain)
    elif kind == SRUN and not given and not allow_plain:
        raise ValueError(f"cluster srun connects nodes; {REMEDY}")


def address_of(cluster: str) -> str:
    """The address of a scheduler that stands, out of its scheduler file where that is given."""
    if kind_of(cluster) == ADDRESS:
        return cluster
    try:
        with open(cluster, encoding="utf-8") as file:
            return str(json.load(file)["address"])
    except FileNotFoundError:
        raise ValueError(
            f"cluster is {cluster!r}; it must be local, cuda, srun, an address such as tls://host:8786, or a scheduler "
            "file, and there is no such file"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"cluster is {cluster!r}, which is no scheduler file; dask scheduler --scheduler-file writes one"
        ) from None


REMEDY = (
    "give tls_ca, tls_cert and tls_key, or write allow_plain: true where whoever reaches the scheduler may run code as "
    "you"
)


def _refuse_address(address: str, tls: list[str], allow_plain: bool) -> None:
    protocol, _, rest = address.partition("://")
    if protocol not in ("tcp", "tls"):
        raise ValueError(
            f"cluster is at {address!r}; it must be tls://host:port, or tcp://host:port on this machine"
        )
    host = rest.rpartition(":")[0].strip("[]")
    if protocol == "tls" and not tls:
        raise ValueError(f"cluster is at {address!r}; give tls_ca, tls_cert and tls_key")
    if protocol == "tcp" and not allow_plain and not _here(host):
        raise ValueError(f"cluster is at {address!r}, beyond this machine and without TLS; {REMEDY}")


def _here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
