"""What svdflow.compat stands in for has tests of its own, scikit-learn's and dask's: they are run on svdflow.compat."""

import ast
import functools
import importlib
import inspect
import itertools
import textwrap

import dask.array as da
import numpy as np
import pytest

from svdflow.compat import InvalidParameterError, accuracy, randomized_svd, svd_compressed

SKLEARN_TESTS = "sklearn.utils.tests.test_extmath"
DASK_TESTS = "dask.array.tests.test_linalg"

RANDOMIZED_SVD_CASES = {
    # Each dropped assertion wants a result to be inaccurate, where this one is accurate.
    "test_randomized_svd_low_rank_all_dtypes": [],
    "test_randomized_svd_low_rank_with_noise": ["np.abs(s[:k] - sa).max() > 0.01"],  # at n_iter=0
    "test_randomized_svd_infinite_rank": ["np.abs(s[:k] - sa).max() > 0.1"],  # at n_iter=0
    "test_randomized_svd_transpose_consistency": [],
    "test_randomized_svd_power_iteration_normalizer": ["np.abs(error_2 - error_20) > 100"],  # "none" diverges
    "test_randomized_svd_sparse_warnings": [],
    "test_randomized_svd_sign_flip": [],
    "test_randomized_svd_sign_flip_with_transpose": [],
    "test_randomized_svd_lapack_driver": [],
    "test_randomized_svd_array_api_compliance": [],
}
SVD_COMPRESSED_CASES = [
    "test_svd_compressed_compute",
    "test_svd_compressed",
    "test_svd_compressed_dtype_preservation",
    "test_svd_compressed_deterministic",
    "test_svd_compressed_shapes",
]


def peer_cases(module_name, names):
    """(module, name, keyword arguments) of every case of the peer's tests, by their own parametrization."""
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        return [pytest.param(None, None, None, marks=pytest.mark.skip(reason=f"{module_name}: {error}"))]
    return [
        pytest.param(module, name, arguments, id="-".join([name, *map(str, arguments.values())]))
        for name in names
        for arguments in parametrization(getattr(module, name))
    ]


def parametrization(function):
    axes = []
    for mark in getattr(function, "pytestmark", []):
        argnames, values = mark.args
        names = [name.strip() for name in argnames.split(",")] if isinstance(argnames, str) else argnames
        values = [value.values if isinstance(value, type(pytest.param())) else value for value in values]
        axes.append([dict(zip(names, value if len(names) > 1 else [value], strict=True)) for value in values])
    return [dict(itertools.chain(*map(dict.items, chosen))) for chosen in itertools.product(*axes)]


def without(function, assertions):
    """The function less the listed assertions, each of which it must have exactly once."""
    if not assertions:
        return function
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tree.body[0].decorator_list = []
    left = list(assertions)

    class Drop(ast.NodeTransformer):
        def visit_Assert(self, node):
            if ast.unparse(node.test) not in left:
                return node
            left.remove(ast.unparse(node.test))
            return ast.Pass()

    code = compile(ast.fix_missing_locations(Drop().visit(tree)), inspect.getsourcefile(function), "exec")
    assert left == []
    scope = {}
    exec(code, function.__globals__, scope)
    return scope[function.__name__]


def counting(function):
    """A list that grows with each call, and the function that makes it grow."""
    calls = []

    @functools.wraps(function)
    def counted(*args, **kwargs):
        calls.append(function)
        return function(*args, **kwargs)

    return calls, counted


def run_sklearn_case(monkeypatch, module, name, arguments, door=randomized_svd):
    calls, counted = counting(door)
    monkeypatch.setattr(module, "randomized_svd", counted)
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or the test of the array API skips itself
    without(getattr(module, name), RANDOMIZED_SVD_CASES[name])(**arguments)
    assert calls, f"{name} called another randomized_svd"


def run_dask_case(monkeypatch, module, name, arguments, door=svd_compressed):
    calls, counted = counting(door)
    monkeypatch.setattr(module, "svd_compressed", counted)
    monkeypatch.setattr(da.linalg, "svd_compressed", counted)
    getattr(module, name)(**arguments)
    assert calls, f"{name} called another svd_compressed"


@pytest.mark.parametrize(("module", "name", "arguments"), peer_cases(SKLEARN_TESTS, RANDOMIZED_SVD_CASES))
def test_sklearns_own_test(module, name, arguments, monkeypatch):
    run_sklearn_case(monkeypatch, module, name, arguments)


@pytest.mark.parametrize(("module", "name", "arguments"), peer_cases(DASK_TESTS, SVD_COMPRESSED_CASES))
def test_dasks_own_test(module, name, arguments, monkeypatch):
    run_dask_case(monkeypatch, module, name, arguments)


def test_no_test_of_the_peers_is_left_out():
    for module_name, function, listed in (
        (
            SKLEARN_TESTS,
            "randomized_svd",
            RANDOMIZED_SVD_CASES,
        ),
        (DASK_TESTS, "svd_compressed", SVD_COMPRESSED_CASES),
    ):
        module = pytest.importorskip(module_name)
        calling = {
            name
            for name, value in vars(module).items()
            if name.startswith("test_") and function in value.__code__.co_names
        }
        assert calling == set(listed)


def test_sklearns_own_test_of_parameters(monkeypatch):
    tests = pytest.importorskip("sklearn.tests.test_public_functions")
    peer = importlib.import_module("sklearn.utils.extmath").randomized_svd
    monkeypatch.setattr(tests, "InvalidParameterError", InvalidParameterError)
    parameters = list(inspect.signature(peer).parameters)
    assert inspect.signature(randomized_svd).parameters.keys() == set(parameters)
    tests._check_function_param_validation(
        randomized_svd, "randomized_svd", parameters, ["M", "n_components"], peer._skl_parameter_constraints
    )


def off_by_a_percent(*args, **kwargs):
    u, s, v = randomized_svd(*args, **kwargs)
    return u, s * np.asarray(1.01, s.dtype), v


def signs_by_v(*args, **kwargs):
    return randomized_svd(*args, **{**kwargs, "flip_sign": False})


def in_double(*args, **kwargs):
    return tuple(np.asarray(part, np.float64) for part in randomized_svd(*args, **kwargs))


def ranks_in_reverse(*args, **kwargs):
    u, s, v = randomized_svd(*args, **kwargs)
    return u[:, ::-1], s[::-1], v[::-1]


@pytest.mark.parametrize("wrong", [off_by_a_percent, signs_by_v, in_double, ranks_in_reverse])
def test_sklearns_own_tests_catch(wrong, monkeypatch):
    module = pytest.importorskip(SKLEARN_TESTS)
    failed = []
    for name in set(RANDOMIZED_SVD_CASES) - {
        "test_randomized_svd_lapack_driver",
        "test_randomized_svd_array_api_compliance",
    }:
        try:
            run_sklearn_case(
                monkeypatch, module, name, parametrization(getattr(module, name))[-2:][0], door=wrong
            )
        except AssertionError:
            failed.append(name)
    assert failed


def unpaired_signs(*args, **kwargs):
    u, s, v = svd_compressed(*args, **kwargs)
    return -u, s, v


def far_off(*args, **kwargs):
    u, s, v = svd_compressed(*args, **kwargs)
    return u, s * np.asarray(1.2, s.dtype), v


def unseeded(*args, **kwargs):
    return svd_compressed(*args, **{**kwargs, "seed": None})


@pytest.mark.parametrize("wrong", [unpaired_signs, far_off, unseeded])
def test_dasks_own_tests_catch(wrong, monkeypatch):
    module = pytest.importorskip(DASK_TESTS)
    monkeypatch.setattr(accuracy, "choose_method", lambda *_: "krylov")  # LAPACK would not depend on the seed
    failed = []
    for name in SVD_COMPRESSED_CASES:
        try:
            run_dask_case(monkeypatch, module, name, parametrization(getattr(module, name))[0], door=wrong)
        except AssertionError:
            failed.append(name)
    assert failed
