"""Which backend computes, and that a missing device is never passed over in silence."""

import logging

import array_api_strict
import numpy as np
import pytest

from svdflow import compute


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(compute.backend, "_cupy_trouble", lambda: "no CUDA device was found")


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(compute.backend, "_cupy_trouble", lambda: "")


def test_explicit_cupy_without_a_device_fails_and_says_what_to_do(no_device):
    with pytest.raises(
        compute.BackendError, match="no CUDA device was found; install the extra cuda12 or cuda13"
    ):
        compute.pick("cupy")


def test_auto_falls_to_numpy_and_logs_it(no_device, caplog):
    with caplog.at_level(logging.INFO):
        assert compute.pick("auto") == "numpy"
    assert "auto took numpy (no CUDA device was found)" in caplog.text


def test_auto_takes_a_device_that_answers(device, caplog):
    with caplog.at_level(logging.INFO):
        assert compute.pick("auto") == "cupy"
    assert "auto took cupy" in caplog.text


def test_unknown_backend_is_named():
    with pytest.raises(ValueError, match="'torch' is not one of"):
        compute.pick("torch")


def test_to_numpy_brings_any_array_home():
    numbers = np.arange(6.0).reshape(2, 3)
    assert compute.to_numpy(numbers) is numbers
    np.testing.assert_array_equal(compute.to_numpy(array_api_strict.asarray(numbers)), numbers)
    np.testing.assert_array_equal(compute.to_numpy([[1, 2]]), [[1, 2]])


def test_numpy_needs_no_cupy():
    assert compute.namespace("numpy").__name__ == "array_api_compat.numpy"
    with compute.linalg_errors("numpy"):
        pass
