"""Random probes of a search: vectors that take no part in it, and so tell what it lacks."""

from typing import Any

import numpy as np

from svdflow.svd.certificates import MISSED, excess, left_by_U
from svdflow.svd.plan import Plan
from svdflow.svd.random_blocks import probe_vectors


class Probes:
    """Standard Gaussian w, shape (n, r), and ``A^H A w``, which a read makes on its way.

    Attributes
    ----------
    vectors : ndarray, shape (n, r)
    """

    def __init__(self, plan: Plan, reader: Any, seed: int) -> None:
        self.reader = reader
        self.vectors = probe_vectors(seed, plan.tall.shape[1], plan.wide, plan.work)
        self._images: np.ndarray | None = None

    @property
    def images(self) -> np.ndarray | None:
        """``A^H A w``, shape (n, r); None before a read made them."""
        return self.reader.images if self._images is None else self._images

    def forget(self) -> None:
        """Have their images made anew, as the next read is more precise."""
        self._images = None

    def image(self, X: np.ndarray) -> np.ndarray:
        """``A^H A X``. A read after the first takes the probes along, unless their images are there."""
        if self.images is not None or not self.reader.reads:
            return np.asarray(self.reader.gram_times(X))
        image = self.reader.gram_times(np.concatenate([X, self.vectors], axis=1), kept=X.shape[1])
        self._images = image[:, X.shape[1] :]
        return np.asarray(image[:, : X.shape[1]])

    def overlooked(self, AhU: np.ndarray, squares: np.ndarray, eps: float) -> bool:
        """Whether they find more left than leading triplets leave, by ``A^H U`` (n, k) and squared values (k,)."""
        if self.images is None or not len(squares):
            return False
        left = left_by_U(self.vectors, self.images, AhU)
        return excess(left, np.sqrt(squares), self.reader.norm_squared, eps) > MISSED
