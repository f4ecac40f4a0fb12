"""Every denoiser on every kind of odd picture: finite where it is valid, or refused by name.

Methods come from their tables, so that a new one is tried too.
"""

from inspect import signature

import numpy as np
import pytest

from svdflow.denoisers import ObservedSpectrum, estimate_sigma, mppca, patch_svd, ssa, wavelet, wnnm
from svdflow.denoisers.patches import Patches
from svdflow.images.colour import to_dtype
from svdflow.registry import DENOISERS
from unit.odd_pictures import NOISE, hole, noisy

SHAPES = {"picture": (24, 28), "series": (6, 7, 12), "columns": (40, 3)}
FACTORS = "factors"  # what the others work on
KINDS = {name: declared.works_on for name, declared in DENOISERS.items()}
METHODS = [name for name, kind in KINDS.items() if kind != FACTORS]


def flat(shape):
    return np.full(shape, 100.0), None


def clipped_border(shape):
    values = noisy(shape)[1]
    values[: shape[0] // 3], values[-(shape[0] // 4) :] = 0, 255
    return values, None


def missing(shape, what):
    valid = hole(shape)
    return np.where(valid, noisy(shape)[1], what), valid


def one_spike(shape):
    values = noisy(shape)[1]
    values[tuple(n // 2 for n in shape)] = 1e30
    return values, None


def of_shape(shape):
    return lambda _: (noisy(shape)[1], None)


# name: values and mask from a shape, and the types that can hold them
INTEGERS, FLOATS = ("uint8", "uint16", "int16", "int32"), ("float16", "float32", "float64")
INPUTS = {
    "flat": (flat, (*INTEGERS, *FLOATS)),
    "clipped_border": (clipped_border, (*INTEGERS, *FLOATS)),
    "nan": (lambda shape: missing(shape, np.nan), FLOATS),
    "mask": (lambda shape: missing(shape, 255.0), (*INTEGERS, *FLOATS)),
    "nodata": (lambda shape: missing(shape, -9999.0), ("int16", "float32", "float64")),
    "spike": (one_spike, ("uint16", "int32", "float32", "float64")),
    "1x1": (of_shape((1, 1)), ("uint8", "float64")),
    "1xn": (of_shape((1, 17)), ("uint8", "float64")),
    "7x7": (of_shape((7, 7)), ("uint8", "float64")),
    "7x7x3": (of_shape((7, 7, 3)), ("uint8", "float64")),
    "low_16_bit": (lambda shape: (noisy(shape)[1], None), ("uint16",)),
    "signed": (lambda shape: (noisy(shape)[1] - 125, None), ("int16", "float32")),
    "1e-30": (lambda shape: (noisy(shape)[1] * 1e-30, None), ("float32", "float64")),
    "1e30": (lambda shape: (noisy(shape)[1] * 1e30, None), ("float32", "float64")),
}
SCALES = {"1e-30": 1e-30, "1e30": 1e30}
# Factors are of a whole matrix: factorize refuses what has gaps (test_masks.py).
WHOLE = INPUTS.keys() - {"nan", "mask", "nodata", "7x7x3"}
CASES = [
    (name, case, dtype)
    for name, kind in KINDS.items()
    for case, (_, dtypes) in INPUTS.items()
    for dtype in dtypes
    if kind != FACTORS or case in WHOLE
]


# What is no input of a method, which it refuses by its own name; everything else is denoised.
REFUSED = {
    ("wavelet", "nan"),
    ("wavelet", "mask"),
    ("wavelet", "nodata"),
    ("mppca", "1x1"),  # a window of one voxel
    ("mppca", "1xn"),
    ("ssa", "1x1"),  # a series of one value
    ("ssa", "1xn"),
    ("ssa", "7x7x3"),  # more dimensions than a series has
}


def cast(values, dtype):
    """To a type; what is larger than it can hold becomes the largest it holds."""
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.nan_to_num(values), limits.min, limits.max).astype(dtype)


def by_name(name, values, mask=None, *, sigma=NOISE, data_range=255.0):
    """A denoiser of the table on values; those of factors by the SVD of the whole."""
    if KINDS[name] == FACTORS:
        U, s, Vt = np.linalg.svd(np.asarray(values, np.float64), full_matrices=False)
        return DENOISERS[name].code()(ObservedSpectrum(U, s, Vt), sigma).rows(0, len(U))
    declared = DENOISERS[name]
    context = {
        "data_range": data_range,
        "threads": 1,
        "passes": 2 if name == "patch_svd" else None,
        "mask": mask,
    }
    taken = signature(declared.code()).parameters
    context = {key: value for key, value in context.items() if key in taken}
    return declared.code()(values, sigma, **declared.arguments, **context).values


@pytest.mark.parametrize(("name", "case", "dtype"), CASES)
def test_finite_or_refused_by_name(name, case, dtype):
    made, _ = INPUTS[case]
    values, mask = made(SHAPES.get(KINDS[name], (24, 28)))
    values = cast(values, dtype)
    scale = SCALES.get(case, 1.0)
    given = {"sigma": NOISE * scale, "data_range": 255 * scale}
    if (name, case) in REFUSED:
        with pytest.raises(ValueError, match=name):
            by_name(name, values, mask, **given)
        return
    found = by_name(name, values, mask, **given)
    assert found.shape == values.shape
    assert found.dtype.kind == "f"
    assert found.dtype.itemsize >= min(8, max(4, values.dtype.itemsize))
    valid = np.ones(values.shape, bool) if mask is None else mask
    assert np.isfinite(found[valid]).all()
    np.testing.assert_array_equal(found[~valid], values[~valid])


def test_only_wavelet_refuses_a_mask():
    refused = []
    for name, kind in KINDS.items():
        if kind != FACTORS:
            values, mask = missing(SHAPES[kind], 255.0)
            try:
                by_name(name, values, mask)
            except ValueError:
                refused.append(name)
    assert refused == ["wavelet"] == [name for name, declared in DENOISERS.items() if not declared.masks]


# ---- the same picture in any unit


@pytest.mark.parametrize("name", METHODS)
def test_the_unit_of_the_values_changes_nothing(name):
    _, values = noisy(SHAPES[KINDS[name]])
    whole = by_name(name, values)
    for dtype, powers in (("float64", (-100, 100)), ("float32", (-90, 90))):
        given = values.astype(dtype)
        expected = by_name(name, given)
        for power in powers:
            unit = np.dtype(dtype).type(2.0**power)
            found = by_name(name, given * unit, sigma=NOISE * 2.0**power, data_range=255 * 2.0**power)
            np.testing.assert_array_equal(found / unit, expected)  # a power of two rounds nothing
    for unit in (1e-30, 3e-7, 1e30):
        found = by_name(name, values * unit, sigma=NOISE * unit, data_range=255 * unit)
        # Rounding of the input, seen through single precision of groups: a few eps of it.
        assert np.abs(found / unit - whole).max() < 8 * np.finfo(np.float32).eps * 255


@pytest.mark.parametrize("method", [patch_svd, wnnm])
@pytest.mark.parametrize("data_range", [1e-30, 1e-6, 65535.0, 1e30])
def test_a_range_far_from_the_values_only_decides_on_sizes(method, data_range):
    clean, values = noisy((40, 36))
    fixed = {"passes": 2, "patch": 6, "group": 60, "stride": 4}
    usual = method(values, NOISE, **fixed).values
    found = method(values, NOISE, data_range=data_range, **fixed).values
    # Planes in another unit are rounded otherwise, and patches that are nearly as far as others change places.
    if method is patch_svd:  # what `wnnm` takes for the noise that is left goes by its strength too
        assert np.sqrt(np.mean((found - usual) ** 2)) < 0.02 * NOISE
    assert np.sqrt(np.mean((found - clean) ** 2)) < NOISE / 2


def test_wavelets_see_noise_in_small_units():
    _, values = noisy((40, 36))
    whole = wavelet(values, NOISE).values
    for unit in (1e-12, 1e-30, 1e30):  # and no range given: scikit-image sees no variance below 2e-16
        np.testing.assert_allclose(wavelet(values * unit, NOISE * unit).values / unit, whole, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind == FACTORS])
def test_the_unit_of_singular_values_changes_nothing(name):
    _, values = noisy((24, 28))
    whole = by_name(name, values)
    for unit in (1e-30, 1e30):
        np.testing.assert_allclose(by_name(name, values * unit, sigma=NOISE * unit) / unit, whole, rtol=1e-11)


# ---- one huge value


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("height", [1e30, 65535.0])
def test_one_huge_value_does_not_switch_off_the_others(name, height):
    # For windows a value of 65535 is one more component; for a picture or a short series it would be all there is.
    shape = {"picture": (48, 40), "series": (10, 10, 12), "columns": (120, 2)}[KINDS[name]]
    clean, values = noisy(shape)
    sigma = None if name in ("mppca", "ssa", "patch_svd", "wnnm") else NOISE
    denoise = {"mppca": mppca, "ssa": ssa}.get(name)

    def error(image):
        if denoise:
            found = denoise(image, threads=1).values
        elif sigma is None:
            found = {"patch_svd": patch_svd, "wnnm": wnnm}[name](image, passes=2, threads=1).values
        else:
            found = by_name(name, image)
        return (found - clean)[others], found[place]

    place = tuple(n // 2 for n in shape)
    others = np.ones(shape, bool)
    others[place] = False
    if KINDS[name] == "series":
        others[place[:-1]] = False
    before, _ = error(values)
    values = values.copy()
    values[place] = height
    after, left = error(values)
    assert left == pytest.approx(height, rel=1e-3)
    assert np.std(after) < 1.08 * np.std(before) < NOISE


def test_an_estimate_of_noise_does_not_see_one_huge_value():
    noise = 5 * np.random.default_rng(3).standard_normal((200, 200))
    before = estimate_sigma(noise, kind="picture")
    noise[77, 31] = 1e30
    # It touches 4 of 10,404 wavelets, of which the median then moves by 2 places: 1e-3 of it.
    assert estimate_sigma(noise, kind="picture") == pytest.approx(before, rel=2e-3)


# ---- equal patches


def test_a_key_patch_belongs_to_its_group():
    patches = Patches((40, 33), 6, 4, 10)
    flat = np.zeros((40, 33), np.float32)
    for band in patches.bands():
        rows, columns = patches.keys
        keys = (rows[band.keys[0], None] - band.first) * patches.places[1] + columns
        found = patches.match(patches.table(flat, band), band, 12)
        assert np.all(np.any(found == keys.reshape(-1, 1), axis=1))


@pytest.mark.parametrize("method", [patch_svd, wnnm])
def test_a_black_border_stays_black(method):
    clean, values = noisy((64, 56))
    for side in (np.s_[:20], np.s_[-20:]):
        clean[side], values[side] = 0, 0
        clean[:, side], values[:, side] = 0, 0
    found = method(values, NOISE, passes=2).values
    assert np.isfinite(found).all()
    # The second pass groups by what rounding left of equal patches, some of them with patches of the picture.
    assert np.abs(found[:12]).max() < NOISE / 100
    assert np.abs(method(values, NOISE, passes=1).values[:12]).max() < 1e-5 * NOISE
    assert np.sqrt(np.mean((found - clean) ** 2)) < NOISE / 2


def test_no_integer_is_made_of_nan():
    with pytest.raises(ValueError, match="1 of 4 values are NaN"):
        to_dtype(np.array([[1.0, np.nan], [0, 3]]), np.uint8)
    np.testing.assert_array_equal(to_dtype(np.array([np.inf, -1, 2.5]), np.uint8), [255, 0, 3])
