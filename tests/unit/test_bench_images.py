"""The driver of the image benchmark, on planted cases, and the arithmetic of two cases."""

import json
import sys
from textwrap import dedent

import images
import numpy as np
import pytest
from imagebench import cost, ranks

GOOD = """
NAME, TITLE = "{name}", "Case {name}"
def measure(*, small, data, say):
    say("working")
    return {{"facts": {{"small": small, "data": str(data)}}, "rows": [{{"dB": 1.5}}]}}
def markdown(result):
    return f"| dB |\\n|---|\\n| {{result['rows'][0]['dB']}} | {{result['facts']['small']}}"
"""
BAD = """
TITLE = "Broken"
def measure(*, small, data, say):
    raise RuntimeError("planted fault")
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Two cases that work, one that raises, and one without a module."""
    package = tmp_path / "plantedbench"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name in ("alpha", "gamma"):
        (package / f"{name}.py").write_text(dedent(GOOD.format(name=name)))
    (package / "broken.py").write_text(dedent(BAD))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(images, "PACKAGE", "plantedbench")
    monkeypatch.setattr(images, "CASES", ("alpha", "broken", "gamma", "missing"))
    monkeypatch.setattr(images, "RESULTS", tmp_path / "kept")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("plantedbench")]:
        del sys.modules[name]


def test_small_is_printed_and_not_kept(planted, capsys):
    assert images.main(["--small", "--case", "alpha"]) == 0
    out = capsys.readouterr().out
    assert "## Case alpha" in out and "| 1.5 | True" in out and "tiny images" in out
    assert not (planted / "kept").exists()


def test_results_are_merged_by_case(planted, capsys):
    assert images.main(["--case", "alpha"]) == 0
    assert images.main(["--case", "gam", "--data", str(planted)]) == 0
    document = json.loads((planted / "kept" / "images.json").read_text())
    assert list(document["cases"]) == ["alpha", "gamma"]
    assert document["cases"]["gamma"]["facts"] == {"small": False, "data": str(planted)}
    assert document["cases"]["alpha"]["machine"]["cores"] >= 1
    page = (planted / "kept" / "images.md").read_text()
    assert page.index("Case alpha") < page.index("Case gamma")
    assert "Case alpha" not in capsys.readouterr().out.rpartition("# Images")[2]


def test_a_failing_case_is_told_and_the_others_run(planted, capsys):
    assert images.main(["--results", str(planted / "own"), "--small"]) == 1
    err = capsys.readouterr().err
    assert "planted fault" in err and "plantedbench.missing" in err and "failed: broken, missing" in err
    document = json.loads((planted / "own" / "images.json").read_text())
    assert list(document["cases"]) == ["alpha", "gamma"]


def test_a_failing_case_keeps_its_older_result(planted):
    assert images.main(["--case", "alpha"]) == 0
    before = (planted / "kept" / "images.json").read_text()
    module = sys.modules["plantedbench.alpha"]
    module.measure = lambda **_: 1 / 0
    assert images.main(["--case", "alpha"]) == 1
    assert (planted / "kept" / "images.json").read_text() == before


def test_list_tells_titles_and_what_is_missing(planted, capsys):
    assert images.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["alpha", "Case", "alpha"] and "ModuleNotFoundError" in lines[3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--case", "delta"], "there are alpha"), (["--data", "nowhere"], "is not a folder")],
)
def test_senseless_arguments_are_refused(planted, arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        images.main(arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("beta", [1.0, 0.25, 0.025])
def test_theory_of_the_losses_is_that_of_its_paper(beta):
    """Gavish and Donoho (2017), section III: Frobenius x^2 (1 - c^2 d^2), with the cosines of that paper."""
    x = ranks.SPIKES
    product = (1 - beta / x**4) ** 2 / ((1 + beta / x**2) * (1 + 1 / x**2))
    due = ranks.theory(beta)
    assert due["frobenius"] == pytest.approx(np.sum(x**2 * (1 - product)), rel=1e-6)
    assert due["seen"] == pytest.approx(np.sqrt((x + 1 / x) * (x + beta / x)))
    # At beta = 1 both cosines are one, c^2 = 1 - 1/x^2, and the operator shrinker gives x back. The difference of x and
    # x u v' with both vectors off by the angle of sine 1/x has the norm x (1/x) = 1 for every spike.
    if beta == 1:
        assert due["operator"] == pytest.approx(1, rel=1e-6)


def test_optimal_shrinkers_lose_least():
    """Negative control of the theory: other values of the same spikes lose more, each in its own norm."""
    beta, x = 0.25, ranks.SPIKES
    due = ranks.theory(beta)
    assert due["nuclear"] <= np.sum(x)  # rank 0
    assert due["operator"] <= x[0]
    assert due["frobenius"] < np.sum(x**2)


def test_spiked_matrices_are_what_they_say():
    signal, noise = ranks.spiked((60, 90), 3)
    assert np.linalg.svd(signal, compute_uv=False)[:6] == pytest.approx(
        [*(ranks.SPIKES * 90**0.5), 0], abs=1e-9
    )
    assert noise.std() == pytest.approx(1, abs=4 / (2 * noise.size) ** 0.5)
    again = ranks.spiked((60, 90), 3)
    assert np.array_equal(signal, again[0]) and np.array_equal(noise, again[1])


def test_decibels_lost_are_those_of_the_images_themselves():
    from skimage.metrics import peak_signal_noise_ratio as psnr

    clean = ranks._grey(images_of_skimage(), 64)
    row = ranks.photograph(clean, 25, 7)
    rng = np.random.Generator(np.random.Philox(key=[7, 25]))
    U, s, Vt = np.linalg.svd(clean + 25 * rng.standard_normal(clean.shape))
    by_rank = [psnr(clean, (U[:, :k] * s[:k]) @ Vt[:k], data_range=255) for k in range(65)]
    assert row["best_psnr"] == pytest.approx(max(by_rank), abs=1e-9)
    assert row["best_rank"] == int(np.argmax(by_rank))
    assert row["loss gavish_donoho"] == pytest.approx(max(by_rank) - by_rank[row["rank"]], abs=1e-9)


def images_of_skimage():
    from skimage import data

    return data.astronaut()


def test_quotients_take_the_right_sides():
    """Two ranks beside one on a tiny image; what counts is that every figure is there and its span holds it."""
    plane = ranks._grey(images_of_skimage(), 64).astype(np.uint8)
    row = cost.timed(plane, (1, 4), 3)
    for name in cost.QUOTIENTS:
        assert row[f"{name}_least"] <= row[name] <= row[f"{name}_most"]
    assert abs(cost.farthest(plane, (1, 4))) < 1e-6
    assert cost.QUOTIENTS["ssim"] == ("with", "without", "peer")


def test_cost_reports_a_missed_bar():
    figures = dict.fromkeys(cost.QUOTIENTS, 1.0) | {"psnr": 1.6, "ssim": 0.1}
    spans = {f"{name}_{end}": 1.0 for name in cost.QUOTIENTS for end in ("least", "most", "of_least")}
    row = {"image": "planted", "ms_one": 1.0, "decibels": 0.01, **figures, **spans}
    text = cost.markdown({"facts": {"ranks": [1, 2], "rounds": 3, "bars": cost.BARS}, "rows": [row]})
    assert "with PSNR at most 1.50: missed (1.6)" in text and "SSIM at most 0.33: held (0.1)" in text
