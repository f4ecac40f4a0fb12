"""How good a picture is: errors, structural similarity, residuals, and what its bytes bought.

The data range is never guessed. Guessing it from the dtype, or from the compressed image, is the usual cause
of published figures that cannot be compared (scikit-image issue 6595).
"""

from svdflow.metrics.errors import (
    explained_energy,
    max_error,
    nrmse,
    psnr,
    psnr_of_error,
    ratio,
    relative_error,
    snr,
    snr_of_error,
    squared_norm,
)
from svdflow.metrics.rate import bd_psnr, bd_rate, bits_per_pixel
from svdflow.metrics.residual import residual_ratio, whiteness
from svdflow.metrics.similarity import SharedReference, has_window, ms_ssim, ssim, strips, window_count
from svdflow.metrics.sweep import Loss, losses

__all__ = [
    "Loss",
    "SharedReference",
    "bd_psnr",
    "bd_rate",
    "bits_per_pixel",
    "explained_energy",
    "has_window",
    "losses",
    "max_error",
    "ms_ssim",
    "nrmse",
    "psnr",
    "psnr_of_error",
    "ratio",
    "relative_error",
    "residual_ratio",
    "snr",
    "snr_of_error",
    "squared_norm",
    "ssim",
    "strips",
    "whiteness",
    "window_count",
]
