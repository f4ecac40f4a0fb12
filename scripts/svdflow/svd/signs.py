"""One sign (or phase) for each singular pair: they are unique up to that, and results should be comparable."""

import numpy as np

# Entries whose magnitudes are closer than this, relative, count as equal, and the first of them decides the sign. It
# lies above rounding of float32 vectors, 1e-7, so that no machine, layout or thread turns a vector round.
TIE = 1e-6


def phases(V: np.ndarray) -> np.ndarray:
    """Unit numbers by which to divide each right singular vector and its left partner.

    Parameters
    ----------
    V : ndarray, shape (n, k)
        Right singular vectors as columns.

    Returns
    -------
    ndarray, shape (k,)
        The phase of the entry of largest magnitude in each column; of those within 1e-6 relative, the one of the
        lowest index. 1 for a zero column, so nothing is ever multiplied by 0.
    """
    if V.shape[1] == 0:
        return np.ones(0, V.dtype)
    magnitude = np.abs(V)
    index = np.argmax(magnitude >= (1 - TIE) * magnitude.max(axis=0), axis=0)
    entry = V[index, np.arange(V.shape[1])]
    length = np.abs(entry)
    return np.where(length > 0, entry / np.where(length > 0, length, 1), 1).astype(V.dtype)
