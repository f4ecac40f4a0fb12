"""The GPU benchmark on NumPy: its accuracy figures, its choice of efforts and its table; that it needs a device."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from svdflow import compute

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.fixture(scope="module")
def gpu():
    spec = importlib.util.spec_from_file_location("gpu_benchmark", PROGRAM)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_without_a_device_it_fails_and_says_so(gpu, monkeypatch, capsys):
    monkeypatch.setattr(compute.backend, "_cupy_trouble", lambda: "no CUDA device was found")
    assert gpu.main([]) == 1
    assert "found none" in capsys.readouterr().err


def test_it_runs_on_numpy_and_writes_what_it_measured(gpu, tmp_path, capsys):
    assert gpu.main(["--backend", "numpy", "--small", "--seeds", "1", "--output", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "gpu.json").read_text())
    page = (tmp_path / "gpu.md").read_text()
    assert {run["side"] for run in report["runs"]} >= {"svdflow", "numpy.linalg.svd", "dask svd_compressed"}
    for run in report["runs"]:
        assert run["trouble"] or (run["pve"][0] <= report["target"] and run["frobenius"][0] >= 1 - 1e-6)
        assert f"| {run['case']} | {run['side']} |" in page
    assert all(rate > 0 for rate in report["limits"].values())
    assert "% bus" in page and "% memory" in page and "backend numpy" in page
    assert page in capsys.readouterr().out


def test_nothing_is_written_over_the_figures_of_a_gpu(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "sides", lambda *_: iter([]))
    assert gpu.main(["--backend", "numpy", "--small"]) == 0
    assert not list(tmp_path.iterdir())


def test_the_matrix_has_the_spectrum_that_its_case_says(gpu):
    case = gpu.SMALL[0]
    found = np.linalg.svd(case.matrix().astype(float), compute_uv=False)
    np.testing.assert_allclose(found, case.spectrum, atol=1e-6)


def test_accuracy_is_that_of_the_best_factors_and_sees_a_planted_error(gpu):
    case, device = gpu.SMALL[0], gpu.Host()
    A, k = case.matrix(), case.rank
    U, s, Vt = np.linalg.svd(A.astype(float), full_matrices=False)
    pve, frobenius = gpu.accuracy(device, A, U[:, :k], s[:k], Vt[:k], case.spectrum)
    assert pve < 1e-4 and abs(frobenius - 1) < 1e-5  # float32 entries, s_{k+1}^2 is 1/121
    swapped = [*range(1, k), k + 4]  # leaves out the first triplet and the k-th next ones
    pve, frobenius = gpu.accuracy(device, A, U[:, swapped], s[swapped], Vt[swapped], case.spectrum)
    lost = case.spectrum[:k] ** 2 - case.spectrum[swapped] ** 2
    assert np.isclose(pve, lost.max() / case.spectrum[k] ** 2, rtol=1e-4)
    rest = np.delete(case.spectrum, swapped)
    assert np.isclose(frobenius, np.sqrt((rest**2).sum() / (case.spectrum[k:] ** 2).sum()), rtol=1e-4)


def test_the_least_effort_that_will_do_is_taken(gpu):
    errors = {0: 1.0, 1: 0.1, 2: 0.2, 3: 0.01}
    tried = []

    def measure(effort):
        tried.append(effort)
        return errors[effort]

    assert gpu.least_effort(measure, (0, 1, 2, 3), 0.15) == 1 and tried == [0, 1]
    assert gpu.least_effort(measure, (0, 1, 2), 1e-6) == 1, "the best of those tried where none will do"


def test_a_peer_that_fails_is_a_row_of_the_table(gpu):
    ours = gpu.Run(
        "c", "svdflow", None, [2.0, 1.0, 4.0], [1e-3], [1.0], {"bytes_per_s": 5.0, "flops_per_s": 8.0}
    )
    peer = gpu.Run("c", "slow", 3, [4.0], [2e-3], [1.1])
    gone = gpu.Run("c", "torch", 1, trouble="OutOfMemoryError: 8 GB")
    limits = {"bus_bytes_per_s": 10.0, "narrow_flops_per_s": 16.0, "square_flops_per_s": 32.0}
    text = gpu.table([ours, peer, gone], limits, (gpu.Case("c", 1, 1, 1.0, streamed=True),))
    assert "| c | svdflow |  | 2.000 (1.000) | 1.0e-03 | 1.0000 | 1.00 | 50 % bus, 50 % narrow" in text
    assert "| c | slow | 3 | 4.000 (4.000) | 2.0e-03 | 1.1000 | 2.00 |  |" in text
    assert "| c | torch | 1 | OutOfMemoryError: 8 GB | | | | |" in text


def test_rates_count_every_read(gpu):
    class Info:
        method, reads, block_size = "krylov", 4, 75

    case = gpu.Case("c", 1000, 100, 1.0, streamed=False, rank=50)
    found = gpu.rates(case, Info, 400_000, 2.0, {"bytes_per_s": 1e5})
    assert found["bytes_per_s"] == 4 * 400_000 / 2
    assert found["flops_per_s"] == (3 * 4 * 1e5 * 75 + 4 * 1e5 * 50) / 2
    assert gpu.rates(case, Info, 400_000, 2.0, {"bytes_per_s": 9e9})["bytes_per_s"] == 9e9
