"""Conditioning audits: known condition numbers, planted faults, and what stored factors can prove."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

from svdflow.audit import audit_matrix
from svdflow.audit.conditioning import audit_conditioning_shard
from svdflow.audit.decomposition import Full, full_records
from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck.by_name import audit_by_name
from svdflow.store import publish, read_table, write_array
from svdflow.store.shards import add_item, add_observation

LIMITS = resolve()


def by_name(records):
    return {record.audit: record for record in records}


def orthogonal(rng, m, n):
    return np.linalg.qr(rng.standard_normal((m, n)))[0]


def with_spectrum(s, m, n, seed=0):
    rng = np.random.default_rng(seed)
    return (orthogonal(rng, m, len(s)) * s) @ orthogonal(rng, n, len(s)).T


# --- a matrix by itself


def test_hilbert_5():
    kappa = by_name(audit_matrix(scipy.linalg.hilbert(5)))["condition_number"]
    # Higham, Accuracy and Stability (2002), table 28.1, and mpmath: 476607.2502425944
    assert kappa.value == pytest.approx(476607.2502425944, rel=5 * 2.2e-16 * 476607)
    assert kappa.verdict is Verdict.PASS


@pytest.mark.parametrize("n", [13, 14, 20])
def test_no_silent_number_beyond_the_float_limit(n):
    found = by_name(audit_matrix(scipy.linalg.hilbert(n)))
    kappa = found["condition_number"]
    assert kappa.verdict is Verdict.INCONCLUSIVE
    assert "float limit" in kappa.reason
    assert kappa.value == pytest.approx(
        1 / (n * 2.0**-52)
    )  # the limit as lower bound, whatever LAPACK returned
    assert found["smallest_singular_value"].verdict is Verdict.INCONCLUSIVE


def test_known_spectrum():
    found = by_name(audit_matrix(with_spectrum(np.array([8.0, 4.0, 2.0, 0.5]), 9, 6)))
    assert found["rank"].value == 4
    assert found["rank"].verdict is Verdict.PASS
    assert found["largest_singular_value"].value == pytest.approx(8)
    assert found["condition_number"].verdict is Verdict.INCONCLUSIVE  # 6 columns, rank 4


def test_a_singular_value_at_the_cut_off_makes_rank_a_warning():
    s = np.array([1.0, 0.5, 2 * 30 * 2.0**-52])
    assert by_name(audit_matrix(np.diag(s).repeat(10, axis=0)))["rank"].verdict is Verdict.WARN


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e307])
@pytest.mark.parametrize("phase", [1.0, 1j])
def test_a_wrong_factor_fails_at_every_scale(scale, phase):
    A = np.diag([9.0, 4.0, 1.0]) * (scale * phase)
    right = Full.of(A)
    assert {r.verdict for r in full_records(right, LIMITS, "", np.array([9, 4, 1]) * scale)} == {Verdict.PASS}
    swapped = replace(right, U=right.U[:, ::-1])  # orthonormal still
    found = by_name(full_records(swapped, LIMITS, ""))
    assert found["svd_residual"].verdict is Verdict.FAIL
    assert found["svd_orthogonality_u"].verdict is Verdict.PASS
    longer = replace(right, s=right.s * 1.001)
    found = by_name(full_records(longer, LIMITS, "", np.array([9, 4, 1]) * scale))
    assert found["svd_values_only"].verdict is Verdict.FAIL
    assert found["truth_full"].verdict is Verdict.FAIL


def test_singular_values_beyond_the_largest_float_do_not_pass():
    found = by_name(audit_matrix(np.full((10, 10), 1e308)))  # s_1 = 1e309
    assert {found[name].verdict for name in ("svd_residual", "svd_values_only")} == {Verdict.ERROR}


def test_complex_and_integer_matrices():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((6, 6)) + 1j * rng.standard_normal((6, 6)))[0]
    assert by_name(audit_matrix(Q))["condition_number"].value == pytest.approx(1, rel=1e-14)
    integers = audit_matrix(np.diag([3, 2, 1]).astype(np.uint8))
    assert {r.verdict for r in integers} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("A", "said"),
    [
        ([[1.0, np.nan]], "nan at row 0, column 1"),
        ([[np.inf], [1.0]], "inf at row 0, column 0"),
        (np.empty((0, 3)), "empty"),
        (np.ones(3), "shape (3,)"),
        (np.array([[1, object()]]), "dtype object is not numeric: object at index (0, 1)"),
        (np.array([["a", "b"]]), "not numeric"),
        (np.array([[1, 2], [3, 2**53 + 1]]), "9007199254740993 at row 1, column 1"),
        (np.array([[1, 2**64 - 1]], dtype=np.uint64), "at row 0, column 1"),
    ],
)
def test_bad_matrices_are_errors_with_a_reason(A, said):
    [record] = audit_matrix(A)
    assert record.verdict is Verdict.ERROR
    assert said in record.reason


def test_a_zero_matrix_is_legal():
    found = by_name(audit_matrix(np.zeros((4, 3))))
    assert found["svd_residual"].value == 0
    assert found["rank"].value == 0
    assert found["condition_number"].verdict is Verdict.INCONCLUSIVE


def dlatms_modes(c, n):
    """Spectra of LAPACK's DLATMS, modes 1 to 5, of condition c."""
    yield np.r_[1, np.full(n - 1, 1 / c)]
    yield np.r_[np.full(n - 1, 1.0), 1 / c]
    yield np.geomspace(1, 1 / c, n)
    yield np.linspace(1, 1 / c, n)
    yield np.sort(np.exp(np.random.default_rng(0).uniform(-np.log(c), 0, n)))[::-1]


@pytest.mark.parametrize("scale", [1e-140, 1.0, 1e140])
@pytest.mark.parametrize("c", [2.0, 1e7, 4e14])
def test_no_false_alarm_on_lapacks_own_matrices(c, scale):
    for i, s in enumerate(dlatms_modes(c, 20)):
        for m, n in ((20, 20), (35, 20), (20, 50)):
            records = audit_matrix(scale * with_spectrum(s, m, n, seed=i))
            ratios = [r for r in records if r.audit.startswith("svd_")]
            assert len(ratios) == 5
            assert all(r.verdict is Verdict.PASS for r in ratios)


FAULTS = {
    "svd_residual": lambda f: replace(f, s=f.s * (1 + 1e-11)),
    "svd_orthogonality_u": lambda f: replace(f, U=f.U * (1 + 1e-11)),
    "svd_orthogonality_v": lambda f: replace(f, Vt=f.Vt + 1e-11),
    "svd_order": lambda f: replace(f, s=f.s[::-1], U=f.U[:, ::-1], Vt=f.Vt[::-1]),
    "svd_values_only": lambda f: replace(f, s=f.s + 1e-10 * f.s[0]),
}


@pytest.mark.parametrize("audit", FAULTS)
def test_a_faulty_decomposition_fails(audit):
    full = Full.of(np.random.default_rng(0).standard_normal((30, 20)))
    assert by_name(full_records(full, LIMITS, "x"))[audit].verdict is Verdict.PASS
    assert by_name(full_records(FAULTS[audit](full), LIMITS, "x"))[audit].verdict is Verdict.FAIL


# --- a shard


SPECTRUM = np.geomspace(10, 0.01, 24)


def write_shard(folder, planes, factors, truth=None):
    """Both files of a shard: a plane is an array, CSR or None (a link), factors are (U, s, Vt, attrs)."""
    matrices, stored = folder / "matrices.h5", folder / "factors.h5"
    with publish(matrices, "matrices") as f:
        for i, A in enumerate(planes):
            item = add_item(f, i, f"plane {i}", "matrix", {})
            o = add_observation(item, 0, 0.0)
            if scipy.sparse.issparse(A):
                o = o.create_group("matrix")
                o.attrs.update({"format": "csr", "shape": A.shape})
                for name in ("data", "indices", "indptr"):
                    write_array(o, name, getattr(A, name))
            elif A is None:
                o.attrs["link_path"] = "elsewhere.npy"
            else:
                write_array(o, "matrix", A)
            if truth is not None:
                write_array(item, "singular_values", truth).attrs["label"] = "exact"
    with publish(stored, "factors") as f:
        for i, (U, s, Vt, attrs) in enumerate(factors):
            g = f.create_group(f"items/{i:06d}/0/matrix")
            for name, array in (("U", U), ("s", s), ("Vt", Vt)):
                write_array(g, name, array)
            g.attrs.update(attrs)
    return matrices, stored


def truncated(A, k):
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    attrs = {"frobenius_error": float(np.linalg.norm(s[k:])), "frobenius_kind": "exact"}
    return U[:, :k], s[:k], Vt[:k], attrs


def audit(folder, planes, factors, *, items=None, full_up_to=1024, truth=None, thresholds=None):
    matrices, stored = write_shard(folder, planes, factors, truth)
    items = list(range(len(planes))) if items is None else items
    options = {
        "dataset": "d",
        "shard": 3,
        "items": items,
        "full_up_to": full_up_to,
        "thresholds": thresholds or {},
    }
    audit_conditioning_shard(matrices, stored, folder / "audit.h5", **options)
    return read_table(folder / "audit.h5", "audit"), read_table(folder / "audit.h5", "errors")


def verdict_of(table, name):
    [verdict] = table.loc[table["audit"] == name, "verdict"]
    return verdict


def test_a_sampled_plane_gets_the_full_panel(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24)
    table, errors = audit(tmp_path, [A], [truncated(A, 10)], truth=SPECTRUM)
    assert errors.empty
    assert set(table["verdict"]) == {"PASS"}
    # LAPACK's checks and the spectrum, ranks, enclosures, truth; stored alone, stored against full
    assert len(table) == 9 + 2 + 3 + 1 + 3 + 4
    assert set(table["shard"]) == {3}
    kappa = table[table["audit"] == "condition_number"]
    assert kappa["value"].item() == pytest.approx(1000, rel=1e-11)


@pytest.mark.parametrize("items", [[0], []])
def test_the_reproduce_line_reproduces(tmp_path, items):
    A = with_spectrum(SPECTRUM, 60, 24)
    table, _ = audit(tmp_path, [A], [truncated(A, 10)], items=items)
    for _, row in table.iterrows():
        spec = row["reproduce"].removeprefix("python -m svdflow audit ").strip("'")
        again = [r for r in audit_by_name([spec]) if r.audit == row["audit"]]
        assert again[0].value == row["value"]


@pytest.mark.parametrize("case", ["not sampled", "too large", "sparse", "linked"])
def test_other_planes_get_what_their_factors_prove(tmp_path, case):
    A = with_spectrum(SPECTRUM, 60, 24)
    plane = {"sparse": scipy.sparse.csr_array(A), "linked": None}.get(case, A)
    options = {"items": []} if case == "not sampled" else {"full_up_to": 59} if case == "too large" else {}
    table, errors = audit(tmp_path, [plane], [truncated(A, 10)], **options)
    assert errors.empty
    here = {"recorded_error"} if case in ("not sampled", "too large") else set()
    stored = {"stored_orthogonality_u", "stored_orthogonality_v", "condition_number"}
    assert set(table["audit"]) == stored | here
    [kappa] = table[table["audit"] == "condition_number"].itertuples()
    assert kappa.verdict == "INCONCLUSIVE"
    assert "truncated" in kappa.reason
    assert kappa.value == pytest.approx(SPECTRUM[0] / SPECTRUM[9], rel=1e-11)


def test_all_factors_stored_give_kappa_itself(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24)
    table, _ = audit(tmp_path, [A], [truncated(A, 24)], items=[])
    [kappa] = table[table["audit"] == "condition_number"].itertuples()
    assert kappa.verdict == "PASS"
    assert kappa.value == pytest.approx(1000, rel=1e-11)


def test_float32_factors_are_judged_in_float32(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24).astype(np.float32)
    U, s, Vt, attrs = truncated(A.astype(float), 10)
    narrow = (U.astype(np.float32), s.astype(np.float32), Vt.astype(np.float32), attrs)
    table, _ = audit(tmp_path, [A], [narrow], truth=SPECTRUM)
    assert set(table["verdict"]) == {"PASS"}


STORED_FAULTS = {
    "stored_orthogonality_u": lambda U, s, Vt, a: (U + 1e-9, s, Vt, a),
    "stored_orthogonality_v": lambda U, s, Vt, a: (U, s, Vt * (1 + 1e-9), a),
    "stored_values": lambda U, s, Vt, a: (U, s * 0.98, Vt, a),
    "stored_truth": lambda U, s, Vt, a: (U, s * 0.98, Vt, a),
    "eckart_young": lambda U, s, Vt, a: (U, s, np.roll(Vt, 1, axis=0), a),
    "suboptimality": lambda U, s, Vt, a: (U, s, np.roll(Vt, 1, axis=0), a),
    "recorded_error": lambda U, s, Vt, a: (U, s, Vt, {**a, "frobenius_error": 1.01 * a["frobenius_error"]}),
}


@pytest.mark.parametrize("fault", STORED_FAULTS)
def test_faulty_factors_fail(tmp_path, fault):
    A = with_spectrum(SPECTRUM, 60, 24)
    table, _ = audit(tmp_path, [A], [STORED_FAULTS[fault](*truncated(A, 4))], truth=SPECTRUM)
    assert verdict_of(table, fault) == "FAIL"


@pytest.mark.parametrize("claim", [0.99, 1.0, 1.01])
@pytest.mark.parametrize("kind", ["exact", "floor"])
def test_the_recorded_error_of_any_dense_plane_is_held_against_proof(tmp_path, claim, kind):
    A = with_spectrum(SPECTRUM, 60, 24)
    U, s, Vt, attrs = truncated(A, 10)
    said = {"frobenius_error": claim * attrs["frobenius_error"] * (1 + 1e-12), "frobenius_kind": kind}
    table, _ = audit(tmp_path, [A], [(U, s, Vt, said)], items=[])
    right = claim == 1 or (claim > 1 and kind == "floor")  # a floor is an upper bound
    assert verdict_of(table, "recorded_error") == ("PASS" if right else "FAIL")


@pytest.mark.parametrize(("promised", "verdict"), [(1.0, "PASS"), (1e-9, "FAIL")])
def test_an_error_recorded_with_its_resolution_is_held_to_that(tmp_path, promised, verdict):
    A = with_spectrum(SPECTRUM, 60, 24)
    U, s, Vt, attrs = truncated(A, 10)
    said = {"frobenius_error": 1.01 * attrs["frobenius_error"], "frobenius_resolution": promised}
    table, _ = audit(tmp_path, [A], [(U, s, Vt, {**attrs, **said})], items=[])
    assert verdict_of(table, "recorded_error") == verdict


def test_factors_far_from_the_optimum_are_a_warning(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    kept = [0, 2, 3, 4]  # the second is missed: the error is 1.8 of the least, below sqrt(1 + k) of it
    tail = float(np.linalg.norm(np.delete(s, kept)))
    attrs = {"frobenius_error": tail, "frobenius_kind": "exact"}
    table, _ = audit(tmp_path, [A], [(U[:, kept], s[kept], Vt[kept], attrs)])
    [row] = table[table["audit"] == "suboptimality"].itertuples()
    assert row.value == pytest.approx(tail / np.linalg.norm(s[4:]), rel=1e-9)
    assert row.verdict == "WARN"


def test_a_plane_too_large_to_certify_is_skipped_with_a_reason(monkeypatch):
    monkeypatch.setattr("svdflow.audit.decomposition.PANEL_SIDE", 8)
    found = by_name(audit_matrix(np.eye(9)))
    assert found["enclosure_kappa"].verdict is Verdict.SKIP
    assert "9 x 9" in found["enclosure_kappa"].reason


def test_a_wrong_truth_fails(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24)
    table, _ = audit(tmp_path, [A], [truncated(A, 4)], truth=SPECTRUM * (1 + 1e-10))
    assert verdict_of(table, "truth_full") == "FAIL"


def test_nearer_than_the_optimum_is_a_fault(tmp_path):
    # Factors of rank 10 that claim rank 9 in their values: the tail of 9 is larger than their error.
    A = with_spectrum(SPECTRUM, 60, 24)
    full = Full.of(A)
    wrong = replace(full, s=full.s * 2)
    from svdflow.audit.stored_factors import compared_records

    with publish(tmp_path / "f.h5", "factors") as f:
        g = f.create_group("x")
        for name, array in zip(("U", "s", "Vt"), truncated(A, 10)[:3], strict=True):
            write_array(g, name, array)
        found = by_name(compared_records(wrong, g, LIMITS, "x"))
    assert found["eckart_young"].verdict is Verdict.FAIL
    assert "impossible" in found["eckart_young"].reason


def test_one_bad_item_is_one_error(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24)
    bad = A.copy()
    bad[5, 7] = np.nan
    table, errors = audit(tmp_path, [A, bad, A], [truncated(A, 10)] * 3)
    assert errors["item"].tolist() == [1]
    assert "row 5, column 7" in errors["message"].item()
    assert set(table["item"]) == {0, 2}


def test_missing_factors_are_skipped_with_a_reason(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24)
    table, errors = audit(tmp_path, [A], [])
    assert errors.empty
    assert verdict_of(table, "stored_factors") == "SKIP"


def test_thresholds_are_configurable(tmp_path):
    A = with_spectrum(SPECTRUM, 60, 24)
    table, _ = audit(tmp_path, [A], [truncated(A, 10)], thresholds={"svd_residual.warn": 0.0})
    assert verdict_of(table, "svd_residual") == "WARN"


def test_the_catalogue_refuses_unknown_names_and_nothing():
    with pytest.raises(ValueError, match="nearest: 'hilbert'"):
        audit_by_name(["hilbertt"])
    with pytest.raises(ValueError, match="nothing would be checked"):
        audit_by_name([])


def test_the_catalogue_runs_an_audit_by_name():
    rows = audit_by_name(["hilbert"], seed=1)
    assert {r.family for r in rows} == {"conditioning", "peers"}
    assert {r.reproduce for r in rows} == {"python -m svdflow audit hilbert --seed 1"}
    [missing] = audit_by_name(["nowhere.h5:/items"])
    assert missing.verdict is Verdict.ERROR
