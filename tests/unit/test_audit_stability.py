"""Stability audits against facts of floating-point arithmetic, and the unstable algorithms they must catch."""

from fractions import Fraction
from math import log

import mpmath
import numpy as np
import pytest
import scipy.special

from svdflow.audit.records import Judge
from svdflow.audit.verdicts import Verdict
from svdflow.registry.limits import resolve
from svdflow.selfcheck import contractions, precision, run, softmax, sums
from svdflow.selfcheck.precision import FORMATS, REFERENCE, Share, bfloat16, cast, gamma, likely_share, worst
from unit.declared_audits import audits_of

AUDITS = audits_of(sums, softmax, precision, contractions)
LIMITS = resolve()
CONTROLS = {"unshifted", "textbook_variance"}


def verdicts(records, audit):
    return {record.subject: record.verdict for record in records if record.audit == audit}


@pytest.mark.parametrize("name", AUDITS)
@pytest.mark.parametrize("seed", range(5))
def test_all_pass_and_the_controls_are_caught(name, seed):
    for record in AUDITS[name](seed, LIMITS):
        expected = Verdict.WARN if record.audit in CONTROLS else Verdict.PASS
        assert record.verdict is expected, str(record)
        assert record.reproduce == f"python -m svdflow audit {name} --seed {seed}"
        assert record.reason


@pytest.mark.parametrize("name", AUDITS)
def test_the_same_seed_gives_the_same_rows(name):
    assert list(map(str, AUDITS[name](7, LIMITS))) == list(map(str, AUDITS[name](7, LIMITS)))


def test_the_family_has_all_its_rows():
    records = run(["stability"], seed=1, cache=False)
    assert {r.family for r in records} == {"stability", "peers"}
    assert {r.verdict for r in records} == {"PASS", "WARN"}
    assert {*AUDITS, *CONTROLS, "shift_invariance", "sum_to_one", "overflow"} <= {r.audit for r in records}


# -- log-sum-exp and softmax


@pytest.mark.parametrize("name", FORMATS)
def test_closed_forms(name):
    x = cast(name, np.full(8, 3.0))
    eps = 2 * FORMATS[name].unit
    assert softmax.log_sum_exp(x).dtype == softmax.softmax(x).dtype == x.dtype
    assert float(softmax.log_sum_exp(x)) == pytest.approx(3 + log(8), rel=2 * eps)
    assert softmax.softmax(x).tolist() == [0.125] * 8
    assert float(softmax.log_sum_exp(cast(name, [-np.inf, -np.inf]))) == -np.inf


def test_equal_to_scipy():
    x = np.random.default_rng(0).standard_normal(50) * 20
    assert float(softmax.log_sum_exp(x)) == pytest.approx(scipy.special.logsumexp(x), rel=1e-15)
    np.testing.assert_allclose(softmax.softmax(x), scipy.special.softmax(x), rtol=1e-13)


@pytest.mark.parametrize("name", FORMATS)
def test_the_reference_has_the_digits_it_claims(name):
    [x] = [x for n, x in softmax.vectors(3) if n == name]
    with mpmath.workdps(40):
        e = [mpmath.exp(v) for v in x.tolist()]
        exact = [v / mpmath.fsum(e) for v in e]
        # The bound of the audit, (n + 5 + 2 r) u, at the unit of the reference.
        bound = (x.size + 5 + 2 * 8) * precision.REFERENCE_UNIT
        for got, wanted in zip(softmax.exact_softmax(x), exact, strict=True):
            assert abs(_mp(got) / wanted - 1) <= bound
        assert abs(_mp(softmax.exact_log_sum_exp(x)) - mpmath.log(mpmath.fsum(e))) <= 2 * bound


def _mp(x):
    high = float(x)
    return mpmath.mpf(high) + mpmath.mpf(float(x - REFERENCE(high)))


@pytest.mark.parametrize("name", FORMATS)
def test_the_shift_is_exact_in_every_format(name):
    [x] = [x for n, x in softmax.vectors(0) if n == name]
    moved = np.asarray(x + cast(name, softmax.SHIFT), float)
    assert (moved - softmax.SHIFT == np.asarray(x, float)).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_without_a_shift_it_overflows():
    records = [
        *softmax.audit_softmax(0, LIMITS, softmax.unshifted_softmax),
        *softmax.audit_log_sum_exp(0, LIMITS, softmax.unshifted_log_sum_exp),
    ]
    assert verdicts(records, "overflow") == {"softmax": Verdict.FAIL, "log_sum_exp": Verdict.FAIL}


def test_overflow_in_each_format_is_seen():
    shares = list(softmax.at_the_border(softmax.unshifted_softmax, softmax.exact_softmax))
    assert [share.value for share in shares] == [np.inf] * len(FORMATS)


def test_a_control_that_survives_is_not_passed():
    judge = Judge("stability", "softmax", 0, LIMITS)
    record = softmax._control(judge, softmax.softmax, softmax.exact_softmax)
    assert record.verdict is Verdict.INCONCLUSIVE
    assert "sees nothing" in record.reason


def test_a_float32_leak_is_seen_in_float64_only():
    leaky = verdicts(
        softmax.audit_softmax(0, LIMITS, lambda x: softmax.softmax(x.astype(np.float32))), "softmax"
    )
    assert leaky["float64"] is Verdict.FAIL
    assert leaky["float32"] is leaky["bfloat16"] is Verdict.PASS


def test_a_float16_sum_is_seen():
    def half(x):
        e = np.exp(x - x.max())
        return e / x.dtype.type(sums.sequential_sum(np.asarray(e, np.float16)))

    found = verdicts(softmax.audit_softmax(0, LIMITS, half), "softmax")
    assert found["float32"] is found["float64"] is Verdict.FAIL


def test_a_shift_that_leaks_is_seen():
    crooked = softmax.audit_softmax(0, LIMITS, lambda x: softmax.softmax(x) * (1 + x.max() / 100))
    assert verdicts(crooked, "shift_invariance") == {"softmax": Verdict.FAIL}


def test_weights_that_sum_to_less_than_one_are_seen():
    short = softmax.audit_softmax(0, LIMITS, lambda x: softmax.softmax(x) * x.dtype.type(0.999))
    assert verdicts(short, "sum_to_one") == {"softmax": Verdict.FAIL}


# -- sums and variances


def test_sums_in_small_integers_are_exact():
    x = np.arange(100.0)
    for subject, _ in sums.SUMS.values():
        assert float(subject(x)) == 4950


def test_compensation_keeps_what_order_loses():
    x = np.array([1.0, 2.0**60, 1.0, -(2.0**60)])
    assert float(sums.sequential_sum(x)) == 0
    assert float(sums.compensated_sum(x)) == 2


def test_half_precision_stagnates():
    # From 2048 on, 1 is half a unit in the last place of float16, and ties go to even; in bfloat16 from 256.
    assert float(sums.sequential_sum(np.ones(4000, np.float16))) == 2048
    assert float(sums.sequential_sum(bfloat16(np.ones(400)))) == 256
    assert float(np.sum(bfloat16(np.ones(400)))) == 400


@pytest.mark.parametrize("name", sums.SUMS)
@pytest.mark.parametrize(
    "fault",
    [
        lambda x: x.astype(np.float16).sum(dtype=np.float16),
        lambda x: np.sum(x[:-1]),
        lambda x: np.sum(x) * 1.001,
    ],
)
def test_wrong_sums_are_seen(name, fault):
    found = verdicts(sums.audit_sum(0, LIMITS, {"faulty": (fault, sums.SUMS[name][1])}), "sum")
    assert found["faulty"] is Verdict.FAIL
    assert found["fsum"] is Verdict.PASS


def test_a_sequential_sum_breaks_the_bound_of_a_compensated_one():
    subject = {"faulty": (sums.sequential_sum, sums.SUMS["compensated"][1])}
    assert verdicts(sums.audit_sum(0, LIMITS, subject), "sum")["faulty"] is Verdict.FAIL


def test_the_textbook_variance_breaks_its_bounds():
    subjects = {"textbook": (sums.textbook_variance, sums.VARIANCES["Welford"][1])}
    assert verdicts(sums.audit_variance(0, LIMITS, subjects), "variance")["textbook"] is Verdict.FAIL


@pytest.mark.parametrize("name", sums.VARIANCES)
def test_a_variance_over_n_is_seen(name):
    variance, bound = sums.VARIANCES[name]
    subjects = {"over n": (lambda x: variance(x) * (x.size - 1) / x.size, bound)}
    assert verdicts(sums.audit_variance(0, LIMITS, subjects), "variance")["over n"] is Verdict.FAIL
    subjects = {"over n": lambda x: float(np.std(x))}
    assert verdicts(sums.audit_numacc(0, LIMITS, subjects), "numacc")["over n"] is Verdict.FAIL


def test_a_float32_mean_is_seen():
    subjects = {"mean": lambda x: float(np.mean(x.astype(np.float32)))}
    assert verdicts(sums.audit_numacc(0, LIMITS, subjects), "numacc")["mean"] is Verdict.FAIL


def test_variances_agree_with_exact_arithmetic():
    x = np.random.default_rng(1).standard_normal(101)
    mean = sum(map(Fraction, x)) / 101
    exact = float(sum((Fraction(v) - mean) ** 2 for v in x) / 100)
    assert float(sums.exact_variance(x)) == exact
    assert sums.two_pass_variance(x) == pytest.approx(exact, rel=1e-14)
    assert sums.welford_variance(x) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("name", ["NumAcc1", "NumAcc2", "NumAcc3", "NumAcc4"])
def test_the_nist_data_have_the_certified_answers(name):
    decimals, mean, deviation = sums.numacc()[name]
    values = [Fraction(v) for v in decimals]
    n = len(values)
    assert n == (3 if name == "NumAcc1" else 1001)
    assert sum(values) / n == Fraction(mean)
    assert sum((v - Fraction(mean)) ** 2 for v in values) / (n - 1) == Fraction(deviation) ** 2


def test_digits_are_those_of_the_reference():
    # shared reference, section 2.4: digits of the ceiling and of the textbook formula at 1e6 and 1e7.
    digits = {}
    for name, (decimals, _, deviation) in sums.numacc().items():
        x = np.array(decimals, float)
        digits[name] = [
            sums.correct_digits(value, Fraction(deviation))
            for value in (
                sums._exact_statistic(x, False),
                np.sqrt(max(sums.textbook_variance(x), 0)),
            )
        ]
    assert digits["NumAcc3"] == pytest.approx([9.46, 1.90], abs=0.005)
    assert digits["NumAcc4"] == pytest.approx([8.25, 0.0], abs=0.005)


def test_a_textbook_control_that_survives_is_not_passed():
    limits = resolve({"textbook_variance.warn": 16.0})
    assert verdicts(sums.audit_numacc(0, limits), "textbook_variance") == {"control": Verdict.INCONCLUSIVE}


# -- formats


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_formats_are_those_of_numpy(name):
    info, form = np.finfo(name), FORMATS[name]
    assert float(info.eps) == 2 * form.unit
    assert float(info.max) == form.largest
    assert float(info.smallest_normal) == form.smallest_normal
    assert float(info.smallest_subnormal) == form.smallest


def test_bfloat16_numbers():
    # Bit patterns 0x7F7F, 0x0080, 0x0001 and 0x3F81 of Intel's definition.
    form = FORMATS["bfloat16"]
    assert form.largest == 3.3895313892515355e38
    assert form.smallest_normal == 2.0**-126
    assert form.smallest == 2.0**-133
    assert 1 + 2 * form.unit == 1.0078125


def test_bfloat16_rounds_to_nearest_even():
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [rng.standard_normal(2000) * 2.0 ** rng.integers(-120, 120, 2000), [1 + 2**-8, 1 + 3 * 2**-8]]
    ).astype(np.float32)
    with mpmath.workprec(8):
        expected = [float(+mpmath.mpf(v)) for v in x.tolist()]  # mpmath rounds to nearest even
    assert np.asarray(bfloat16(x)).tolist() == expected
    special = np.asarray(bfloat16([np.inf, -np.inf, np.nan, 3.4e38, -0.0]))
    assert special[:2].tolist() == [np.inf, -np.inf]
    assert np.isnan(special[2])
    assert special[3] == np.inf
    assert np.signbit(special[4])


@pytest.mark.parametrize("operation", [np.add, np.subtract, np.multiply, np.divide])
def test_bfloat16_operations_are_rounded_once(operation):
    rng = np.random.default_rng(1)
    a, b = bfloat16(rng.standard_normal(500)), bfloat16(rng.standard_normal(500))
    got = np.asarray(operation(a, b)).tolist()
    with mpmath.workprec(8):
        exact = operation(*(np.array([mpmath.mpf(v) for v in np.asarray(x).tolist()]) for x in (a, b)))
    assert got == [float(v) for v in exact]


def test_bfloat16_keeps_shapes():
    x = bfloat16(np.ones((2, 3, 4)))
    assert np.asarray(x.sum(axis=1)).tolist() == [[3.0] * 4] * 2
    assert x.sum(axis=-1, keepdims=True).shape == (2, 3, 1)
    assert float(x.sum()) == 24
    assert np.asarray(x[0] @ x[1].T).tolist() == [[4.0] * 3] * 3


@pytest.mark.parametrize(
    ("name", "border"),
    [("float16", 11.086), ("bfloat16", 88.5), ("float32", 88.72283), ("float64", 709.782712893384)],
)
def test_the_border_of_exp(name, border):
    form = FORMATS[name]
    assert form.exp_border == pytest.approx(border, abs=0.5 * 10 ** -len(str(border).partition(".")[2]))
    # exp x is finite as long as it is below the middle between the largest number and the next power of two.
    with mpmath.workdps(40):
        middle = (2 - mpmath.mpf(form.unit)) * mpmath.mpf(2) ** form.emax
        step = 2.0 ** (int(np.log2(form.exp_border)) + 1 - form.digits)
        assert mpmath.exp(form.exp_border) < middle <= mpmath.exp(form.exp_border + step)


@pytest.mark.parametrize("name", FORMATS)
def test_arithmetic_of_another_format_is_seen(name):
    other = {"float16": "bfloat16", "bfloat16": "float16", "float32": "float64", "float64": "float32"}
    subject = lambda n, v: cast(other[n] if n == name else n, v)  # noqa: E731
    found = verdicts(precision.audit_precision(0, LIMITS, subject), "precision")
    assert [n for n, verdict in found.items() if verdict is Verdict.FAIL] == [name]


def test_numbers_flushed_to_zero_are_seen():
    def flushed(name, values):
        x = np.asarray(values, np.float32)
        return Flushed(x) if name == "float32" else cast(name, values)

    class Flushed(np.ndarray):
        def __new__(cls, x):
            return np.where(np.abs(x) < 2.0**-126, np.float32(0), x).view(cls)

        def __array_ufunc__(self, ufunc, method, *inputs, **options):
            plain = [x.view(np.ndarray) if isinstance(x, Flushed) else x for x in inputs]
            result = getattr(ufunc, method)(*plain, **options)
            return Flushed(result) if np.asarray(result).dtype.kind == "f" else result

    [record] = [r for r in precision.audit_precision(0, LIMITS, flushed) if r.subject == "float32"]
    assert record.verdict is Verdict.FAIL
    assert "subnormal" in record.reason


def test_products_in_less_precision_are_seen():
    def rounded(A, B):
        half = np.asarray(A, np.float32).astype(np.float16), np.asarray(B, np.float32).astype(np.float16)
        return (half[0] * np.float16(1.5)) @ half[1]

    found = verdicts(precision.audit_low_precision_matmul(0, LIMITS, rounded), "low_precision_matmul")
    assert set(found.values()) == {Verdict.FAIL}


def test_a_drift_warns_before_it_fails():
    # Every product too large by a share between the likely and the certain bound.
    n, unit = 256, FORMATS["float16"].unit
    share = (1 + likely_share(n, unit)) / 2

    def drifting(A, B):
        wide = np.asarray(A, float) @ np.asarray(B, float)
        return wide + share * gamma(n, unit) * (np.abs(np.asarray(A, float)) @ np.abs(np.asarray(B, float)))

    found = verdicts(precision.audit_low_precision_matmul(0, LIMITS, drifting), "low_precision_matmul")
    assert found["float16, n = 256"] is Verdict.WARN


def test_a_matrix_product_in_bfloat16_is_that_of_its_loop():
    rng = np.random.default_rng(2)
    A, B = bfloat16(rng.standard_normal((2, 9))), bfloat16(rng.standard_normal((9, 3)))
    total = bfloat16(np.zeros((2, 3)))
    for k in range(9):
        total = total + A[:, k : k + 1] * B[k : k + 1]
    assert np.asarray(A @ B).tolist() == np.asarray(total).tolist()


@pytest.mark.parametrize(
    "fault",
    [
        lambda A: np.sqrt(np.maximum(np.sort(np.linalg.eigvalsh(A.T @ A))[::-1], 0))[: min(A.shape)],
        lambda A: precision.singular_values(A)[::-1],
        lambda A: precision.singular_values(A.astype(np.float16).astype(A.dtype)),
    ],
)
def test_singular_values_that_know_less_are_seen(fault):
    found = verdicts(precision.audit_singular_value_floor(0, LIMITS, fault), "singular_value_floor")
    assert {Verdict.WARN, Verdict.FAIL} & set(found.values())


# -- shares of bounds


def test_gamma():
    assert gamma(1, 0.25) == pytest.approx(1 / 3)
    assert gamma(4, 0.25) == np.inf
    assert likely_share(1, 2**-53) == 1
    assert likely_share(10_000, 2**-53) == pytest.approx(0.07, rel=1e-6)


def test_rounding_errors_are_likely_below_the_likely_bound():
    """Higham and Mary (2019): random rounding errors of n additions stay below lambda sqrt(n) u."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        x = rng.random(1000).astype(np.float32)
        error = abs(float(sums.sequential_sum(x)) - float(np.sum(x.astype(float))))
        unit = FORMATS["float32"].unit
        assert error <= likely_share(999, unit) * gamma(999, unit) * float(np.sum(x.astype(float)))


def test_a_share_finds_the_worst_entry():
    share = Share.of([1.0, 2.5, 3.0], np.array([1.0, 2.0, 3.25], REFERENCE), [1.0, 1.0, 0.25], 0.0)
    assert (share.value, share.reason) == (1.0, "entry 2: error 2.5e-01 of bound 2.5e-01")
    exact = Share.of([0.1], np.array([Fraction(1, 10)]), 2.0**-60, 0.0)
    assert exact.value == abs(float(Fraction(0.1) - Fraction(1, 10))) * 2.0**60


@pytest.mark.parametrize("got", [[np.nan, 0.0], [np.inf, 0.0], [0.0, 0.0, 0.0]])
@pytest.mark.parametrize("dtype", [REFERENCE, object])
def test_no_number_and_no_shape_is_a_fault(got, dtype):
    expected = np.array([Fraction(0), Fraction(0)]) if dtype is object else np.zeros(2, dtype)
    assert Share.of(got, expected, 1.0, 0.0).value == np.inf


def test_a_bound_that_holds_for_anything_certifies_nothing():
    share = Share.of([5.0], np.zeros(1, REFERENCE), gamma(300, 2**-8), 0.0)
    record = share.record(Judge("stability", "sum", 0, LIMITS), "sum", "x")
    assert record.verdict is Verdict.INCONCLUSIVE


def test_the_worst_is_what_is_nearest_to_a_verdict():
    mild, likely, fault = Share(0.9, 0.0, "a", 1.0), Share(0.5, 0.0, "b", 0.3), Share(1.1, 0.0, "c", 1.0)
    assert worst([mild, likely]).value == 0.5
    assert worst([mild, likely, fault]).value == 1.1


def test_the_worst_keeps_the_coarsest_resolution():
    top = worst([Share(0.5, 0.0, "a"), Share(0.1, 0.3, "b")])
    assert (top.value, top.resolution, top.reason) == (0.5, 0.3, "worst of 2, a")
