"""What the library computes on: NumPy, or CuPy on a CUDA device, through the array API."""

from svdflow.compute.backend import array_namespace, linalg_errors, namespace, pick, to_numpy
from svdflow.compute.device import Device
from svdflow.compute.devices import device_of
from svdflow.errors import BackendError, DeviceMemoryError

__all__ = [
    "BackendError",
    "Device",
    "DeviceMemoryError",
    "array_namespace",
    "device_of",
    "linalg_errors",
    "namespace",
    "pick",
    "to_numpy",
]
