"""What the library computes on: NumPy, or CuPy on a CUDA device, through the array API."""

from svdflow.backend.choice import BackendError, array_namespace, linalg_errors, namespace, pick, to_numpy
from svdflow.backend.device import Device, DeviceMemoryError, device_of

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
