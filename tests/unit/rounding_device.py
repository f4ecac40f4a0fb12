"""A simulated device with fast products: NumPy, whose products round what they multiply to bfloat16."""

import array_api_compat.numpy
import numpy as np

from svdflow.compute import Device
from svdflow.compute.device import FastProducts


def bfloat16(A):
    """float32 or complex64 with the low 16 bits of each number rounded off, halves to even."""
    A = np.ascontiguousarray(A)
    bits = A.view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + half) & np.uint32(0xFFFF0000)).view(A.dtype).reshape(A.shape)


class RoundingDevice(Device):
    """`types` are those of all that was multiplied fast."""

    name = "rounding"
    xp = array_api_compat.numpy

    def __init__(self):
        super().__init__()
        self.types = set()
        self.fast = FastProducts("bfloat16", 2.0**-7, self.times)

    def times(self, A, B):
        self.types |= {A.dtype.name, B.dtype.name}
        return bfloat16(A) @ bfloat16(B)
