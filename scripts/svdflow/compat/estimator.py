"""A scikit-learn transformer over the engine; the only part of svdflow that needs scikit-learn."""

from typing import Any

import numpy as np

from svdflow.compat.accuracy import decompose, in_peer_precision, narrowed
from svdflow.compat.parameters import (
    is_integer,
    is_text,
    require,
    require_normalizer,
    seed_of_random_state,
)
from svdflow.compute import to_numpy
from svdflow.errors import InvalidParameterError, NonFiniteError
from svdflow.matrix.masks import unmasked
from svdflow.matrix.opening import as_source
from svdflow.matrix.panels import PANEL_BYTES
from svdflow.matrix.sources import MatrixSource
from svdflow.svd.factorization import truncated_svd
from svdflow.svd.plan import Target, choose_method
from svdflow.svd.read.moments import Moments
from svdflow.svd.result import SVDResult

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "svdflow.compat.TruncatedSVD is a scikit-learn estimator and needs scikit-learn 1.6 or later: "
        "pip install 'svdflow[sklearn]'. svdflow.truncated_svd and svdflow.compat.randomized_svd do without it."
    ) from error

ALGORITHMS = ("randomized", "arpack")
SPARSE = ("csr", "csc")  # formats that are read as they are; scikit-learn converts others to the first


class TruncatedSVD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Reduce dimensions by a truncated singular value decomposition, or with ``center=True`` by PCA.

    Parameters
    ----------
    n_components : int
        Number of components k, at most min(n_samples, n_features).
    algorithm : {"randomized", "arpack"}
        As of scikit-learn: ``arpack`` iterates to `tol`, to rounding where that is None or 0, by block Lanczos.
    n_iter : int, optional
        With ``randomized``: at least as accurate as so many power iterations of scikit-learn (whose default is 5),
        in fewer reads. By default `tol` says how accurate.
    n_oversamples : int
        Columns of the sketch beyond n_components, where `n_iter` is given.
    power_iteration_normalizer : {"auto", "QR", "LU", "none"}
        Checked, and without effect: every block is orthonormalized.
    random_state : int, numpy.random.RandomState or None
        Of the test matrix. None draws a seed from NumPy's global stream.
    tol : float, optional
        Accuracy of the triplets, ``max_i |s_i^2 - ||A^H u_i||^2| / s_{k+1}^2``; the engine's default (0.01) where None.
        Without effect where `n_iter` is given.
    center : bool
        Subtract the column means, without making a sparse matrix dense.
    method : str
        As in `svdflow.truncated_svd`, for ``randomized`` without `n_iter`.

    Attributes
    ----------
    components_ : ndarray, shape (k, n_features)
        Right singular vectors as rows; the entry of largest magnitude in each is real and positive.
    singular_values_ : ndarray, shape (k,), float64, not increasing
    explained_variance_ : ndarray, shape (k,), float64
        With ``center=True`` the sample variances ``s^2 / (n_samples - 1)`` as of scikit-learn's PCA, otherwise the
        variances of the transformed training data over n_samples as of its TruncatedSVD.
    explained_variance_ratio_ : ndarray, shape (k,), float64
        Over the total variance of the training data; 0 where that is 0.
    mean_ : ndarray, shape (n_features,), or None
        What `transform` subtracts.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where X had them.
    info_ : SVDInfo
        Method, reads, reason of ending, Frobenius error and its kind, residuals, estimate of the accuracy.

    Notes
    -----
    Array-likes and sparse matrices are validated by scikit-learn, which refuses complex ones. Everything else that
    `svdflow.truncated_svd` reads (a path, an h5py dataset, a dask array, a `MatrixSource`, complex or not) is
    read panel by panel. Without centring, the ratio of explained variance takes one read more, for the column means.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.diag([3.0, 2.0, 1.0])
    >>> svd = TruncatedSVD(n_components=2).fit(X)
    >>> svd.singular_values_.round(6).tolist()
    [3.0, 2.0]
    >>> svd.transform(X).round(6).tolist()
    [[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]]
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        algorithm: str = "randomized",
        n_iter: int | None = None,
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = 0,
        tol: float | None = None,
        center: bool = False,
        method: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.algorithm = algorithm
        self.n_iter = n_iter
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state
        self.tol = tol
        self.center = center
        self.method = method

    def fit(self, X: Any, y: Any = None) -> "TruncatedSVD":
        """Learn the components of X, shape (n_samples, n_features). `y` is ignored.

        Raises
        ------
        ValueError
            n_components is outside 1 to min(n_samples, n_features), or X is not a finite matrix of numbers.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Learn the components of X and return X in them, ``U diag(s)``, shape (n_samples, k), without another read."""
        return self._fit(X)

    def transform(self, X: Any) -> Any:
        """X in the components, shape (n_samples, k): an ndarray, or a dask array where X is one."""
        check_is_fitted(self)
        if not _is_validated_elsewhere(X):
            return self._project(validate_data(self, X, accept_sparse=SPARSE, dtype="numeric", reset=False))
        source = as_source(X)
        if source.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {source.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input"
            )
        if hasattr(X, "dask"):
            return self._project(X)
        return np.concatenate([self._project(source.read(start, stop)) for start, stop in source.bounds()])

    def inverse_transform(self, X: Any) -> Any:
        """From components, shape (n_samples, k), back to features, shape (n_samples, n_features)."""
        check_is_fitted(self)
        X = unmasked(X, "X")
        Z = X if hasattr(X, "dask") or np.iscomplexobj(X) else check_array(X, dtype="numeric")
        back = Z @ self.components_
        return back if self.mean_ is None else back + self.mean_.astype(self.components_.dtype)

    def _fit(self, X: Any) -> np.ndarray:
        """Scores of X. Reads look for NaN themselves; the complaint about one is scikit-learn's."""
        try:
            return self._fitted(self._training_source(X))
        except NonFiniteError:
            if not _is_validated_elsewhere(X):
                validate_data(self, X, accept_sparse=SPARSE, dtype="numeric")
            raise

    def _fitted(self, source: MatrixSource) -> np.ndarray:
        m, n = source.shape
        if not is_integer(self.n_components, 1, min(m, n)):
            raise InvalidParameterError(
                f"n_components={self.n_components!r} must be an integer from 1 to min(n_samples, n_features), "
                f"with n_samples={m} and n_features={n}"
            )
        result = self._factors(source)
        self.components_, self.singular_values_ = result.Vt, result.s
        self.info_, self.mean_ = result.info, result.info.mean
        if result.s[0] > np.finfo(result.U.dtype).max:
            scores = narrowed(result.U * result.s, result.U.dtype, "transformed data")
        else:
            scores = np.multiply(result.U, result.s.astype(result.U.dtype), out=result.U)
        # In units of the norm, whose square may be no number.
        unit = result.info.frobenius_norm or 1.0
        if self.center:
            shares, total = (result.s / unit) ** 2 / max(1, m - 1), 1 / max(1, m - 1)
        else:
            shares, total = _variances(source, result.Vt, unit)
        with np.errstate(over="ignore"):
            self.explained_variance_ = shares * unit * unit
        self.explained_variance_ratio_ = shares / total if total > 0 else np.zeros(len(result.s))
        return scores

    def _factors(self, source: MatrixSource) -> SVDResult:
        caller, k = type(self).__name__, self.n_components
        self._check(caller)
        seed = seed_of_random_state(self.random_state, caller)
        if self.algorithm == "arpack":
            exact = choose_method(source, Target(rank=k))
            method = exact if exact in ("full", "gram") else "lanczos"
            return truncated_svd(source, k, center=self.center, tol=self.tol or 0.0, method=method, seed=seed)
        if self.n_iter is None:
            return truncated_svd(source, k, center=self.center, tol=self.tol, method=self.method, seed=seed)
        oversampling = int(self.n_oversamples)
        return decompose(
            source, k, n_oversamples=oversampling, n_iter=int(self.n_iter), seed=seed, center=self.center
        )

    def _check(self, caller: str) -> None:
        require(
            is_text(self.algorithm, ALGORITHMS),
            "algorithm",
            caller,
            f"a str among {set(ALGORITHMS)}",
            self.algorithm,
        )
        known = self.n_iter is None or is_integer(self.n_iter, 0)
        require(known, "n_iter", caller, "an int in the range [0, inf) or None", self.n_iter)
        known = is_integer(self.n_oversamples, 1)
        require(known, "n_oversamples", caller, "an int in the range [1, inf)", self.n_oversamples)
        require_normalizer(self.power_iteration_normalizer, caller)

    def _training_source(self, X: Any) -> MatrixSource:
        if not _is_validated_elsewhere(X):
            return in_peer_precision(as_source(self._validated(X)))
        source = as_source(X)
        self.n_features_in_ = source.shape[1]
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return in_peer_precision(source)

    def _validated(self, X: Any) -> Any:
        return validate_data(self, X, accept_sparse=SPARSE, dtype="numeric", ensure_all_finite=False)

    def _project(self, X: Any) -> Any:
        V = self.components_.conj().T
        if self.mean_ is None:
            return X @ V
        if isinstance(X, np.ndarray) and X.dtype in (np.float32, np.complex64) and len(X):
            # In double, a panel at a time: the difference of two large products would lose what lies below the mean.
            mean, wide = self.mean_ @ V, V.astype(self.mean_.dtype)
            height = max(1, PANEL_BYTES // (8 * X.shape[1]))
            panels = (X[start : start + height] @ wide - mean for start in range(0, len(X), height))
            return np.concatenate([panel.astype(V.dtype) for panel in panels])
        wide = V.astype(self.mean_.dtype)
        return (X @ wide - self.mean_ @ wide).astype(V.dtype)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _is_validated_elsewhere(X: Any) -> bool:
    """Whether X is read in panels, which are checked as they come, rather than an array-like in memory."""
    unmasked(X, "X")  # scikit-learn would read what lies under the mask
    if isinstance(X, MatrixSource | str) or hasattr(X, "__fspath__") or hasattr(X, "dask"):
        return True
    return type(X).__module__.split(".")[0] in ("h5py", "zarr")


def _variances(source: MatrixSource, Vt: np.ndarray, unit: float) -> tuple[np.ndarray, float]:
    """Variances of the data in the components Vt, and the sum of those of all columns, of the data over `unit`.

    One read. Panels are summed in double about their own means and joined by Chan, Golub and LeVeque (1983), so that
    a large mean costs no digits, whatever the type and sparsity of the data.
    """
    wide = np.result_type(source.dtype, np.float64)
    components, total = Moments(), Moments()
    for start, stop in source.bounds():
        block = source.read(start, stop)
        block = block.astype(wide) / unit if source.sparse else to_numpy(block).astype(wide) / unit
        components = components.joined(block @ Vt.conj().T.astype(wide))
        total = total.joined(block)
    return components.variances, float(np.sum(total.variances))
