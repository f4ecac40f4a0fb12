"""Enclosures against 60 digits, their width, and what they make of bad factors; the panels of one matrix."""

import functools
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import scipy.linalg

from svdflow.audit import audit_matrix
from svdflow.audit.condition import exact_rank, norm_records, rank_records, rank_rules
from svdflow.audit.enclosures import Certificate, certify_error, certify_svd
from svdflow.audit.jacobi import classical, sliced_product
from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck import hilbert, known_enclosures, posterior
from svdflow.selfcheck.hilbert import audit_hilbert
from svdflow.selfcheck.known_enclosures import audit_enclosures
from svdflow.selfcheck.posterior import audit_posterior
from unit.declared_audits import audits_of

LIMITS = resolve()
EPS = 2.0**-52


def by_name(records):
    return {record.audit: record for record in records}


def economy(A):
    return np.linalg.svd(A, full_matrices=False)


def orthonormal(rng, m, n, complex_=False):
    X = rng.standard_normal((m, n)) + (1j * rng.standard_normal((m, n)) if complex_ else 0)
    return np.linalg.qr(X)[0]


def dlatms(mode, c, n):
    """Spectra of LAPACK's DLATMS, modes 1 to 4, of condition c."""
    one_large, one_small = np.r_[1, np.full(n - 1, 1 / c)], np.r_[np.full(n - 1, 1.0), 1 / c]
    return (one_large, one_small, np.geomspace(1, 1 / c, n), np.linspace(1, 1 / c, n))[mode - 1]


def matrices():
    rng = np.random.default_rng(5)
    for i, c in enumerate((1e1, 1e4, 1e8, 9e9, 1e12, 1e15)):
        for mode in (1, 2, 3, 4):
            m, n, complex_ = ((14, 14, False), (19, 12, False), (9, 15, True), (12, 12, True))[(i + mode) % 4]
            s = dlatms(mode, c, min(m, n))
            U, V = orthonormal(rng, m, len(s), complex_), orthonormal(rng, n, len(s), complex_)
            yield f"randsvd mode {mode}, kappa {c:g}, {m} x {n}", (U * s) @ V.conj().T
    for n in (1, 2, 7, 20):
        yield f"normal {n}", rng.standard_normal((n, n))
        yield f"complex normal {n}", rng.standard_normal((n + 3, n)) + 1j * rng.standard_normal((n + 3, n))
        yield f"uint8 image {n}", rng.integers(0, 256, (n + 4, n + 4)).astype(np.uint8)
    yield (
        "smooth uint8 image",
        np.rint(127 + 120 * np.outer(np.sin(np.arange(24) / 7), np.cos(np.arange(24) / 5))),
    )
    for n in (4, 8, 10, 12):
        yield f"hilbert {n}", scipy.linalg.hilbert(n)
    for r in (1, 3, 6):
        yield (
            f"integers of rank {r}",
            rng.integers(-9, 9, (12, r)).astype(float) @ rng.integers(-9, 9, (r, 9)),
        )
    yield "close values", np.diag(1 + 1e-13 * np.arange(8)) + 1e-14 * rng.standard_normal((8, 8))
    yield (
        "close and small",
        orthonormal(rng, 9, 9) @ np.diag(np.r_[1, 0.5, np.full(7, 1e-9)]) @ orthonormal(rng, 9, 9),
    )
    yield "graded rows", np.diag(10.0 ** -np.arange(0, 40, 4)) @ rng.standard_normal((10, 10))
    yield "float32", rng.standard_normal((8, 6)).astype(np.float32)
    yield "near underflow", 2.0**-1040 * rng.integers(1, 2**20, (5, 4))
    yield "near overflow", 1e307 * rng.standard_normal((6, 6))
    yield "zero", np.zeros((4, 3))
    yield "identity", np.eye(6)
    yield "zero columns", rng.standard_normal((8, 8)) * (np.arange(8) % 2)
    yield "triangular", np.triu(rng.standard_normal((10, 10)))


CASES = dict(matrices())


@functools.cache
def truth(name):
    """Singular values to 60 digits."""
    A = CASES[name]
    A = A if A.shape[0] >= A.shape[1] else A.conj().T
    with mpmath.workdps(60):
        M = mpmath.matrix(A.tolist())
        largest = max((abs(x) for x in M), default=0) or 1
        svd = mpmath.svd_c if A.dtype.kind == "c" else mpmath.svd_r
        # mpmath stops by an absolute tolerance, so the matrix is brought to about 1.
        return sorted((x * largest for x in svd(M / largest, compute_uv=False)), reverse=True)


def holds(certificate, name):
    """Whether all enclosures hold the truth; below 1e-50 of the largest, 60 digits are rounding, too."""
    exact = truth(name)
    slack = exact[0] * mpmath.mpf(10) ** -50
    return all(
        (mpmath.mpf(float(low)) <= x + slack) and (high == np.inf or x - slack <= mpmath.mpf(float(high)))
        for low, high, x in zip(certificate.lower, certificate.upper, exact, strict=True)
    )


def error_of(A, U, s, Vt):
    """||A - U S Vt||_F to 60 digits."""
    if not len(s):
        U, s, Vt = np.zeros((len(A), 1)), np.zeros(1), np.zeros((1, A.shape[1]))
    with mpmath.workdps(60):
        A, U, S, Vt = (mpmath.matrix(np.asarray(x).tolist()) for x in (A, U, np.diag(s), Vt))
        return mpmath.sqrt(sum(abs(x) ** 2 for x in A - U * S * Vt))


def certificate_of(A):
    return certify_svd(A, *economy(A.astype(complex if A.dtype.kind == "c" else float)))


def test_there_are_fifty_matrices():
    assert len(CASES) >= 50


def test_enclosures_of_well_conditioned_matrices_are_narrow():
    sound = [A for name, A in CASES.items() if truth(name)[0] < 1e10 * truth(name)[-1]]
    assert len(sound) >= 25
    for certificate in map(certificate_of, sound):
        least, most = certificate.kappa
        assert certificate.width < 1e-8
        assert (most - least) / most < 1e-8
        assert certificate.rank == len(certificate.lower)


@pytest.mark.parametrize("name", CASES)
def test_enclosures_hold_the_truth(name):
    certificate = certificate_of(CASES[name])
    exact = truth(name)
    assert holds(certificate, name)
    kappa = exact[0] / exact[-1] if exact[-1] > exact[0] * mpmath.mpf(10) ** -40 else mpmath.inf
    least, most = certificate.kappa
    assert np.isnan(least) or least <= kappa * (1 + mpmath.mpf(10) ** -40)
    assert np.isnan(most) or most == np.inf or kappa <= most * (1 + mpmath.mpf(10) ** -40)
    rank = sum(x > exact[0] * mpmath.mpf(10) ** -40 for x in exact)
    assert certificate.rank <= rank


BAD = {
    "wrong values": lambda U, s, Vt: (U, 1.3 * s[::-1], Vt),
    "values of no size": lambda U, s, Vt: (U, 0 * s, Vt),
    "not orthonormal": lambda U, s, Vt: (U + 1e-4, s, Vt * 1.001),
    "far from orthonormal": lambda U, s, Vt: (3 * U, s, 0.2 * Vt + 1),
    "truncated": lambda U, s, Vt: (U[:, : len(s) // 2], s[: len(s) // 2], Vt[: len(s) // 2]),
    "none": lambda U, s, Vt: (U[:, :0], s[:0], Vt[:0]),
    "float32": lambda U, s, Vt: (U.astype(np.complex64), s.astype(np.float32), Vt.astype(np.complex64)),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_factors_widen_the_enclosures_and_leave_them_true(fault):
    for name, A in CASES.items():
        if name.startswith("near"):
            continue
        A = A.astype(complex if A.dtype.kind == "c" else float)
        factors = BAD[fault](*economy(A))
        certificate = certify_svd(A, *factors)
        assert holds(certificate, name), name
        assert certificate.error == certify_error(A, *factors)
        low, high = certificate.error
        if A.size > 200:
            continue
        exact = error_of(A, *factors)
        assert mpmath.mpf(low) <= exact <= mpmath.mpf(high), name


def test_a_compression_error_is_proved_to_ten_digits():
    A = np.random.default_rng(0).integers(0, 256, (60, 40)).astype(float)
    U, s, Vt = economy(A)
    low, high = certify_error(A, U[:, :10], s[:10], Vt[:10])
    assert (high - low) / high < 1e-10
    assert low <= np.linalg.norm(s[10:]) * (1 + 1e-12)
    tail = certify_svd(A, U, s, Vt).tail(10)
    assert tail[0] <= high
    assert tail[1] - tail[0] < 1e-8 * tail[1]


@pytest.mark.parametrize("complex_", [False, True])
def test_the_sliced_product_is_as_near_as_it_says(complex_):
    rng = np.random.default_rng(2)
    A = rng.uniform(-1, 1, (7, 30)) * 10.0 ** -rng.integers(0, 12, (7, 30))
    V = orthonormal(rng, 30, 5, complex_)
    A = A + 1j * A[::-1] / 2 if complex_ else A
    V[:, 0] = np.linalg.svd(A)[2].conj().T[:, -1]  # A V cancels
    G, errors = sliced_product(A, V)
    with mpmath.workdps(60):
        apart = mpmath.matrix(A.tolist()) * mpmath.matrix(V.tolist()) - mpmath.matrix(G.tolist())
        for j in range(5):
            assert mpmath.sqrt(sum(abs(apart[i, j]) ** 2 for i in range(7))) <= mpmath.mpf(errors[j])
    # 30 terms, each wrong by u of what two slices of 21 bits leave, which is 2^-42: 1e-26; a plain product has 1e-15.
    assert errors[0] < 1e-25


def strassen(A, B):
    """One level."""
    (a, b), (c, d) = (np.split(half, 2, axis=1) for half in np.split(A, 2))
    (e, f), (g, h) = (np.split(half, 2, axis=1) for half in np.split(B, 2))
    p, q, r, s = (a + d) @ (e + h), (c + d) @ e, a @ (f - h), d @ (g - e)
    t, u, v = (a + b) @ h, (c - a) @ (e + f), (b - d) @ (g + h)
    return np.block([[p + s - t + v, r + t], [q + s, p - q + r + u]])


def three_products(A, B):
    """3M."""
    if A.dtype.kind != "c":
        return A @ B
    real, imaginary = A.real @ B.real, A.imag @ B.imag
    return real - imaginary + 1j * ((A.real + A.imag) @ (B.real + B.imag) - real - imaginary)


def narrow(A, B):
    kind = np.complex64 if A.dtype.kind == "c" else np.float32
    return (A.astype(kind) @ B.astype(kind)).astype(A.dtype)


def test_nothing_is_proved_from_products_that_are_not_classical(monkeypatch):
    from svdflow.audit import enclosures

    assert classical()
    assert not any(classical(product) for product in (strassen, three_products, narrow))
    monkeypatch.setattr(enclosures, "classical", lambda: False)
    with pytest.raises(RuntimeError, match="not classical"):
        certify_svd(np.eye(2), *economy(np.eye(2)))


def test_factors_that_do_not_fit_are_refused():
    A = np.eye(3)
    U, s, Vt = economy(A)
    for bad in ((A[:2], U, s, Vt), (A, U, s[:2], Vt), (np.empty((0, 3)), U, s, Vt), (A * np.nan, U, s, Vt)):
        with pytest.raises(ValueError, match="A"):
            certify_svd(*bad)
    with pytest.raises(ValueError, match="float64"):
        certify_svd(np.array([[2**53 + 1]]), np.eye(1), np.ones(1), np.eye(1))


# --- the audits without data

WITHOUT_DATA = audits_of(hilbert, known_enclosures, posterior)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_no_false_alarm(name, seed):
    rows = list(WITHOUT_DATA[name](seed, LIMITS))
    assert {r.verdict for r in rows if not r.audit.startswith("peer_")} == {Verdict.PASS}


def test_numpy_is_silent_on_hilbert_14():
    rows = {r.subject: r for r in audit_hilbert(0, LIMITS)}
    assert rows["numpy.linalg.solve"].verdict is Verdict.WARN
    assert rows["numpy.linalg.cond"].verdict is Verdict.WARN
    assert "nothing" in rows["numpy.linalg.inv"].reason
    assert rows["hilbert 14"].verdict is Verdict.PASS


def test_a_panel_that_gives_a_number_beyond_the_limit_fails():
    def talkative(A, s, limits, subject):
        return [replace(r, verdict=Verdict.PASS) for r in norm_records(A, s, limits, subject)]

    rows = by_name(audit_hilbert(0, LIMITS, talkative))
    assert rows["silent_number"].verdict is Verdict.FAIL


def shifted(A, U, s, Vt):
    right = certify_svd(A, U, s, Vt)
    return Certificate(right.lower * (1 + 1e-9), right.upper * (1 + 1e-9), right.error)


def believing(A, U, s, Vt):
    """Encloses whatever values it is given."""
    s = np.pad(s, (0, min(A.shape) - len(s)))
    return Certificate(np.sort(s)[::-1] * (1 - 1e-12), np.sort(s)[::-1] * (1 + 1e-12), (0.0, 0.0))


@pytest.mark.parametrize("mutant", [shifted, believing])
def test_enclosures_that_miss_the_truth_fail(mutant):
    rows = [r for r in audit_enclosures(0, LIMITS, mutant) if r.audit == "enclosure_truth"]
    assert Verdict.FAIL in {r.verdict for r in rows}


def test_enclosures_that_are_wide_are_a_warning():
    def wide(A, U, s, Vt):
        right = certify_svd(A, U, s, Vt)
        return Certificate(right.lower * (1 - 1e-6), right.upper * (1 + 1e-6), right.error)

    rows = [r for r in audit_enclosures(0, LIMITS, wide) if r.audit == "enclosure_width"]
    assert {r.verdict for r in rows} == {Verdict.WARN}


def factorized(change):
    from svdflow.svd import truncated_svd

    return lambda A, **options: change(truncated_svd(A, **options))


POSTERIOR = {
    "recorded_error": lambda r: replace(
        r, info=replace(r.info, frobenius_error=r.info.frobenius_error * 1.001)
    ),
    "suboptimality": lambda r: replace(r, U=np.roll(r.U, 1, axis=1)),
    "leave_one_out": lambda r: (
        replace(r, info=replace(r.info, leave_one_out=5.0)) if hasattr(r.info, "leave_one_out") else r
    ),
}


@pytest.mark.parametrize("fault", POSTERIOR)
def test_a_wrong_posterior_is_seen(fault):
    rows = [r for r in audit_posterior(0, LIMITS, factorized(POSTERIOR[fault])) if r.audit == fault]
    expected = Verdict.WARN if fault == "leave_one_out" else Verdict.FAIL
    assert expected in {r.verdict for r in rows}


# --- the panels


def test_a_rank_that_floats_cannot_decide_is_inconclusive():
    A = np.random.default_rng(0).integers(-9, 9, (12, 11)).astype(float) @ np.ones((11, 12))
    A = A + np.diag(np.r_[np.arange(1.0, 12), 0])
    A[:, 11] = A[:, 0] + A[:, 1]  # rank 11
    found = by_name(audit_matrix(A))
    assert found["certified_rank"].verdict is Verdict.INCONCLUSIVE
    assert found["certified_rank"].value == 11
    assert "rank >= 11 certified, rank 12 of 12 undecidable" in found["certified_rank"].reason
    assert found["enclosure_kappa"].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("error", [1e-11, 1e-9, 1e-7])
def test_values_outside_their_enclosures_fail_however_little(error):
    from svdflow.audit.decomposition import Full, full_records

    full = Full.of(np.random.default_rng(0).standard_normal((20, 20)))
    assert by_name(full_records(full, LIMITS, ""))["enclosed_values"].verdict is Verdict.PASS
    wrong = replace(full, s=full.s * np.where(np.arange(20) == 3, 1 + error, 1))
    assert by_name(full_records(wrong, LIMITS, ""))["enclosed_values"].verdict is Verdict.FAIL


@pytest.mark.parametrize("n", [2, 5, 8])
def test_condition_of_hilbert_matrices(n):
    found = by_name(audit_matrix(scipy.linalg.hilbert(n)))
    inverse = scipy.linalg.invhilbert(n, exact=True).astype(float)  # integers, exact
    H = scipy.linalg.hilbert(n)
    one = np.abs(H).sum(axis=0).max() * np.abs(inverse).sum(axis=0).max()
    # The entries of H are rounded, which moves kappa by eps kappa of itself, and so does the inverse.
    assert found["condition_one"].value == pytest.approx(one, rel=4 * n * EPS * one)
    skeel = (np.abs(inverse) @ np.abs(H)).sum(axis=1).max()
    assert found["condition_skeel"].value == pytest.approx(skeel, rel=4 * n * EPS * one)
    assert {found[name].verdict for name in ("condition_laws", "rcond_estimate")} == {Verdict.PASS}


def test_skeel_is_free_of_row_scaling():
    A = np.random.default_rng(0).standard_normal((10, 10))
    D = 2.0 ** np.arange(0, 20, 2)
    plain, scaled = by_name(audit_matrix(A)), by_name(audit_matrix(D[:, None] * A))
    assert scaled["condition_one"].value > 100 * plain["condition_one"].value
    assert scaled["condition_skeel"].value == pytest.approx(plain["condition_skeel"].value, rel=1e-9)


def test_broken_norms_break_the_laws(monkeypatch):
    from svdflow.audit import condition

    A = np.random.default_rng(0).standard_normal((10, 10))
    s, right = np.linalg.svd(A, compute_uv=False), condition._norms
    for name, factor, audit, verdict in (
        ("gecon", 1.001, "condition_laws", Verdict.FAIL),
        ("skeel", 100, "condition_laws", Verdict.FAIL),
        ("gecon", 0.2, "rcond_estimate", Verdict.WARN),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(
                condition, "_norms", lambda A, s, n=name, f=factor: {**right(A, s), n: f * right(A, s)[n]}
            )
            assert by_name(norm_records(A, s, LIMITS, ""))[audit].verdict is verdict


@pytest.mark.parametrize(
    "A", [np.diag([1.0, 1e-17]), np.diag([1.0, 0.0]), np.ones((3, 3)), scipy.linalg.hilbert(13)]
)
def test_no_condition_number_beyond_the_limit(A):
    found = by_name(audit_matrix(A))
    names = ("condition_number", "condition_one", "condition_skeel", "condition_laws", "rcond_estimate")
    assert {found[name].verdict for name in names} == {Verdict.INCONCLUSIVE}
    assert found["condition_one"].value == pytest.approx(1 / (len(A) * EPS))


def test_rank_rules_are_those_of_the_libraries():
    rng = np.random.default_rng(3)
    for power in (-18, -15.8, -15.3, -14.9, -14, -3):
        s = np.r_[1, 0.5, 0.1, 10.0**power]
        A = (orthonormal(rng, 30, 4) * s) @ orthonormal(rng, 4, 4).T
        ranks = rank_rules(np.linalg.svd(A, compute_uv=False), A.shape)
        b = np.ones(30)
        assert ranks["matrix_rank"] == np.linalg.matrix_rank(A)
        assert ranks["numpy lstsq"] == np.linalg.lstsq(A, b)[2]
        assert ranks["scipy lstsq"] == scipy.linalg.lstsq(A, b)[2]
        assert ranks["scipy pinv"] == scipy.linalg.pinv(A, return_rank=True)[1]
        # What pinv inverted shows in the size of its norm: 1 / s_4, or 1 / s_3.
        inverted = np.linalg.norm(np.linalg.pinv(A), 2) > 1e3
        assert ranks["numpy pinv"] == (4 if inverted or power == -3 else 3)


def test_rules_that_disagree_are_a_warning():
    A = np.diag([1.0, 1e-15 * 1.5, 0])
    found = by_name(audit_matrix(A.repeat(10, axis=0)))
    assert found["rank_rules"].verdict is Verdict.WARN
    assert found["rank_rules"].value == 1


def test_effective_and_stable_rank():
    found = by_name(audit_matrix(np.diag([1.0, 1, 1, 0])))["effective_rank"]
    assert found.value == pytest.approx(3, rel=1e-12)
    assert "stable rank 3" in found.reason


def test_exact_rank_of_integers():
    rng = np.random.default_rng(0)
    for rank in (0, 1, 4, 7):
        A = rng.integers(-9, 10, (20, rank)) @ rng.integers(-9, 10, (rank, 7))
        assert exact_rank(A.astype(float)) == rank
        assert exact_rank(A.T.astype(float)) == rank
    assert exact_rank(np.array([[0.5]])) is None
    assert exact_rank(np.ones((20, 20))) is None
    # 10^9 (10^9 + 2) - (10^9 + 1)^2 = -1: rank 2, and every float rule says 1.
    big = np.array([[1e9, 1e9 + 1], [1e9 + 1, 1e9 + 2]])
    assert exact_rank(big) == 2
    s = np.linalg.svd(big, compute_uv=False)
    assert by_name(rank_records(big, s, EPS, LIMITS, ""))["rank_exact"].verdict is Verdict.FAIL


def special_matrices():
    rng = np.random.default_rng(7)
    for c in (2.0, 1e7, 4e14):
        for mode in (1, 2, 3, 4):
            for m, n in ((20, 20), (30, 20), (20, 30)):
                yield (orthonormal(rng, m, 20) * dlatms(mode, c, 20)) @ orthonormal(rng, n, 20).T
    T = rng.standard_normal((20, 20))
    yield from (
        np.triu(T),
        np.tril(T),
        np.zeros((6, 6)),
        np.eye(7),
        np.ones((1, 1)),
        T[:, :1],
        T[:1],
        T + 1j * T.T,
    )
    yield from (T * (np.arange(20) > 0), T * (np.arange(20) < 19), T * (np.arange(20) < 10))
    yield from (T * 2.0**-1022, T * 1e-318, T * 1e307, np.diag([1e300, 1.0, 1e-300]))
    yield from (np.diag(np.linspace(1, EPS, 20)), 1e-300 * np.diag(np.linspace(1, EPS, 20)))
    yield 1e300 * np.diag(np.linspace(1, EPS, 20))


def test_no_false_alarm_of_the_panel_on_lapacks_matrices():
    rows = [r for A in special_matrices() for r in audit_matrix(A)]
    alarms = [r for r in rows if r.verdict in (Verdict.WARN, Verdict.FAIL, Verdict.ERROR)]
    assert {r.audit for r in alarms} <= {"rank", "rank_rules"}


def test_a_certificate_blind_to_its_vectors_is_found_out():
    def blind(A, U, s, Vt):
        residual = float(np.linalg.norm(A - (U * s) @ Vt))
        found = certify_svd(A, U, s, Vt)
        values = np.r_[np.sort(s)[::-1], np.zeros(len(found.lower) - len(s))]
        return replace(found, lower=np.maximum(values - residual - 1e-9, 0), upper=values + residual + 1e-9)

    rows = list(audit_enclosures(0, LIMITS, blind))
    missed = [r for r in rows if r.audit == "enclosure_truth" and r.verdict is Verdict.FAIL]
    assert missed
    assert all("the right product alone" in r.reason for r in missed)
