"""The device by its name."""

from svdflow.compute.cuda import CupyDevice
from svdflow.compute.device import Device


def device_of(
    backend: str, *, threads: int = 1, memory_limit: int | None = None, allow_tf32: bool = False
) -> Device:
    """The device of a backend that `pick` returned.

    Parameters
    ----------
    backend : {"numpy", "cupy"}
    threads : int
        Host threads that may fill staging buffers.
    memory_limit : int, optional
        Bytes of device memory to take beyond what the process holds there already; CuPy only.
    allow_tf32 : bool
        Compute although ``CUPY_TF32`` is set, which rounds float32 products to 11 bits; a note says so.

    Raises
    ------
    BackendError
        ``CUPY_TF32`` is set and not allowed.
    ValueError
        Another name was given.
    """
    if backend == "numpy":
        return Device()
    if backend != "cupy":
        raise ValueError(f"backend {backend!r} is not one of 'numpy', 'cupy'")
    return CupyDevice(threads=threads, memory_limit=memory_limit, allow_tf32=allow_tf32)
