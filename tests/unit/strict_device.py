"""A simulated device: array-api-strict's `device1`, which refuses to mix with host memory, with a count of transfers.

array-api-strict lets some host transfers pass in silence (``float(x)``, ``np.from_dlpack(x)``);
`no_implicit_transfers` closes those holes, so that what runs inside moves data by `put` and `get` only.
"""

from contextlib import contextmanager

import array_api_strict
import numpy as np
import pytest

from svdflow.compute import Device

DEVICE = array_api_strict.Device("device1")
HOST = array_api_strict.Device("CPU_DEVICE")
LEAKS = ("__float__", "__int__", "__bool__", "__complex__", "__index__", "__dlpack__", "__array__")


class StrictDevice(Device):
    """Panels on `device1`. `puts` and `gets` count transfers, `put_bytes` and `got_bytes` what they moved."""

    name = "strict"
    xp = array_api_strict

    def __init__(self):
        super().__init__()
        self.puts = self.gets = self.put_bytes = self.got_bytes = 0

    def put(self, host):
        if isinstance(host, array_api_strict._array_object.Array):
            assert host.device == DEVICE, "an array-API array in host memory is not what a panel loop has"
            return host
        host = np.asarray(host)
        self.puts += 1
        self.put_bytes += host.nbytes
        return array_api_strict.asarray(host, device=DEVICE)

    def get(self, array):
        if isinstance(array, np.ndarray):
            return array
        host = array.to_device(HOST)._array.copy()
        self.gets += 1
        self.got_bytes += host.nbytes
        return host


@contextmanager
def no_implicit_transfers():
    """Fail where a value leaves `device1` by a conversion instead of by `get`."""
    kind = array_api_strict._array_object.Array

    def closed(name, original):
        def leak(self, *args, **kwargs):
            if self.device == DEVICE:
                raise AssertionError(f"implicit host transfer by {name}; use Device.get")
            return original(self, *args, **kwargs)

        return leak

    with pytest.MonkeyPatch.context() as patch:
        for name in LEAKS:
            if hasattr(kind, name):
                patch.setattr(kind, name, closed(name, getattr(kind, name)))
        yield
