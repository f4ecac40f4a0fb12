"""The device of these tests; with `--fake-gpu` the host plays it, on as much of CuPy as svdflow calls.

That is a dry run, without a GPU and without CuPy: it shows that the tests and what they call run to their end, and
nothing of a device. What only a device can show is skipped.
"""

import sys

import pytest

from unit.fake_cupy import FakeCupy

# Facts of a device's memory, errors and arithmetic: nothing plays them
NEEDS_A_DEVICE = ("pool", "tf32", "mixed_precision", "failed_factorizations", "disturb")


def pytest_addoption(parser):
    parser.addoption(
        "--fake-gpu", action="store_true", help="a dry run of tests/gpu on the host, without CuPy"
    )


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--fake-gpu"):
        return
    for item in items:
        asked = [*getattr(item, "fixturenames", ()), item.name]
        if item.get_closest_marker("gpu") and any(word in name for name in asked for word in NEEDS_A_DEVICE):
            item.add_marker(pytest.mark.skip(reason="only a device can show it"))


@pytest.fixture(scope="module")
def cupy(request):
    """CuPy with a device, or what plays it."""
    if request.config.getoption("--fake-gpu"):
        with pytest.MonkeyPatch.context() as patched:
            FakeCupy(eager=True).install(patched)
            yield sys.modules["cupy"]
        return
    module = pytest.importorskip("cupy", reason="CuPy is not installed (extras cuda12, cuda13)")
    if not module.cuda.is_available():
        pytest.skip("no CUDA device")
    yield module
