"""The tables of svdflow: their columns, units and meaning. docs/schema.md is generated from here."""

from typing import NamedTuple


class Column(NamedTuple):
    """One column: `kind` is text, int, float or bool."""

    name: str
    kind: str
    unit: str
    description: str


_KEY = [
    Column("dataset", "text", "", "row of the sheet of datasets"),
    Column("shard", "int", "", "slice of the manifest"),
    Column("item", "int", "", "index of the item in the manifest"),
    Column("name", "text", "", "name of the item, a file name or a generator"),
    Column("plane", "text", "", "grey; r, g, b; y, cb, cr; matrix"),
    Column("sigma_added", "float", "value", "standard deviation of the noise added to the clean item"),
]
_SHAPE = [
    Column("m", "int", "rows", "rows of the plane"),
    Column("n", "int", "columns", "columns of the plane"),
]
_RANK = Column("rank", "int", "", "number of components kept")
_MS_SSIM = Column(
    "ms_ssim",
    "float",
    "1",
    "multi-scale SSIM (Wang 2003, five scales); NaN below 176 pixels or where it is not asked for",
)
_JUDGED = [
    Column("data_range", "float", "value", "peak of PSNR, NRMSE and SSIM: one a dataset and kind of samples"),
    Column(
        "data_range_source",
        "text",
        "",
        "where it comes from: 8 bits, bits that files state, the fewest bits that hold all values, largest less "
        "smallest value, or given",
    ),
    Column("masked", "int", "pixel", "missing pixels of the plane, which no figure counts"),
]

TABLES: dict[str, list[Column]] = {
    "factorize": [
        *_KEY,
        *_SHAPE,
        Column("dtype", "text", "", "type of the observed values"),
        Column("method", "text", "", "how the factors were computed"),
        _RANK,
        Column("reads", "int", "", "complete passes over the matrix"),
        Column("frobenius_norm", "float", "value", "Frobenius norm of the observed matrix"),
        Column("frobenius_error", "float", "value", "Frobenius norm of observed minus factors"),
        Column("relative_error", "float", "1", "frobenius_error over frobenius_norm"),
        Column(
            "error_kind", "text", "", "certificate: exact, floor (below rounding of the norm) or estimate"
        ),
        Column(
            "spectral_error",
            "float",
            "value",
            "bound on the largest singular value of observed minus factors, or an estimate",
        ),
        Column(
            "spectral_kind", "text", "", "certificate: exact, probabilistic, estimate or none (nothing known)"
        ),
        Column("spectral_failure", "float", "1", "probability that a probabilistic bound does not hold"),
        Column(
            "estimate",
            "float",
            "1",
            "estimated largest |s_i^2 - |A^H u_i|^2| / s_{k+1}^2, which factorize.tol stops; 0 if exact",
        ),
        Column("s_first", "float", "value", "largest singular value"),
        Column("s_last", "float", "value", "smallest stored singular value"),
        Column("truth_error", "float", "1", "largest |s_i - true s_i| / s_1 where the true ones are known"),
        Column("truth_label", "text", "", "how they are known: exact, clean, computed or theory"),
        Column(
            "reason",
            "text",
            "",
            "why the computation ended: converged, saturated, rank_deficient; max_reads, unresolved: it fell short",
        ),
        Column("backend", "text", "", "numpy or cupy"),
    ],
    "compress": [
        *_KEY,
        *_SHAPE,
        Column("rule", "text", "", "rank, energy, power_of_two, full or a rank rule: who asked"),
        Column(
            "target", "float", "", "the rank or the share of energy that was asked for; NaN for a rank rule"
        ),
        _RANK,
        Column("reached", "bool", "", "whether the stored factors reach the target"),
        Column("value_ratio", "float", "1", "k (m + n + 1) / (m n): stored values over values, not bytes"),
        Column("bytes", "int", "byte", "k (m + n + 1) values in the type of the stored factors"),
        Column("bits_per_pixel", "float", "bit", "8 bytes / (m n)"),
        Column(
            "relative_error",
            "float",
            "1",
            "Frobenius norm of the difference over that of the plane (centred where center is)",
        ),
        Column(
            "max_error",
            "float",
            "value",
            "largest absolute difference; NaN where the plane is judged by its spectrum",
        ),
        Column("psnr", "float", "dB", "peak signal-to-noise ratio with data_range"),
        *_JUDGED,
        Column("nrmse", "float", "1", "root of the mean squared error over data_range"),
        Column(
            "ssim", "float", "1", "structural similarity (Wang 2004: Gaussian 1.5, population covariance)"
        ),
        _MS_SSIM,
        Column(
            "explained_energy",
            "float",
            "1",
            "sum of kept s_i^2 over the squared norm, which is centred only where center is",
        ),
    ],
    "denoise": [
        *_KEY,
        *_SHAPE,
        Column("method", "text", "", "the denoiser"),
        Column(
            "rule", "text", "", "rank (a listed rank), the rank rule that chose it, or the method's own rule"
        ),
        Column(
            "rank",
            "int",
            "",
            "components kept: of the plane, or of a group, window or series on average; -1 for none",
        ),
        Column(
            "sigma_used", "float", "value", "noise standard deviation that the method was given or estimated"
        ),
        Column(
            "sigma_source",
            "text",
            "",
            "given, mad (wavelets), few_levels (a picture of few values), mp_median (Marchenko-Pastur), residual "
            "(of partial factors) or own (of each window)",
        ),
        Column("sigma_mad", "float", "value", "estimate by the finest wavelets; NaN for matrices"),
        Column(
            "sigma_mp",
            "float",
            "value",
            "estimate by the median singular value; NaN where not all are stored",
        ),
        Column("error_clean", "float", "1", "relative Frobenius error against the clean reference"),
        Column("error_observed", "float", "1", "relative Frobenius distance to the observed plane"),
        Column("max_error", "float", "value", "largest absolute error against the clean reference"),
        Column("snr", "float", "dB", "power of the clean reference over power of the error"),
        Column("psnr", "float", "dB", "against the clean reference, with data_range"),
        Column("ssim", "float", "1", "against the clean reference"),
        _MS_SSIM,
        *_JUDGED,
        Column(
            "residual_ratio",
            "float",
            "1",
            "standard deviation of observed minus estimate over sigma_used: near 1 where just the noise was taken; "
            "of chosen estimates",
        ),
        Column(
            "whiteness",
            "float",
            "1",
            "root mean square correlation of the residual with its neighbours times the root of its size: near 1 for "
            "white noise; of chosen estimates",
        ),
        Column("best", "bool", "", "least error against clean among the listed ranks"),
        Column(
            "chosen",
            "bool",
            "",
            "the method's answer without the clean reference; this one is written as a picture",
        ),
    ],
    "rates": [
        *_KEY,
        *_SHAPE,
        Column("codec", "text", "", "svdflow, or the codec that it is compared with"),
        Column("form", "text", "", "of an archive: svd, tiles or tucker; empty for others"),
        Column("setting", "text", "", "what the codec was told: a step, a quality, a tolerance"),
        Column("lossless", "bool", "", "whether the codec gives back every bit"),
        Column("bytes", "int", "byte", "size of the file, all side information counted"),
        Column("bits_per_pixel", "float", "bit", "8 bytes / (m n)"),
        Column("relative_error", "float", "1", "of what decodes, against the plane"),
        Column("max_error", "float", "value", "largest absolute error of what decodes"),
        Column("psnr", "float", "dB", "of what decodes, with data_range"),
        *_JUDGED,
        Column("ssim", "float", "1", "of what decodes; NaN for matrices"),
        Column("target", "text", "", "what an archive was to reach; empty where none was named"),
        Column("kept", "bool", "", "whether the archive stands under archives/"),
        Column("note", "text", "", "why an archive keeps little of its plane; empty where it does not"),
    ],
    "audit": [
        Column("family", "text", "", "conditioning, gradients, stability, peers, mutants or own"),
        Column("audit", "text", "", "what was checked"),
        Column("subject", "text", "", "on what"),
        Column("dataset", "text", "", "row of the sheet of datasets, empty where no data are audited"),
        Column("shard", "int", "", "slice of the manifest, or -1"),
        Column("item", "int", "", "index in the manifest, or -1"),
        Column("plane", "text", "", "plane, or empty"),
        Column("value", "float", "", "the audited figure"),
        Column("warn", "float", "", "WARN from here on"),
        Column("fail", "float", "", "FAIL from here on"),
        Column("margin", "float", "1", "value over fail"),
        Column("resolution", "float", "", "smallest error that the audit could have seen"),
        Column("verdict", "text", "", "PASS, WARN, FAIL, INCONCLUSIVE, SKIP or ERROR"),
        Column("reason", "text", "", "why"),
        Column("seed", "int", "", "seed of its random numbers"),
        Column("reproduce", "text", "", "one line that repeats it"),
    ],
    "curves": [
        Column("family", "text", "", "conditioning or gradients"),
        Column("curve", "text", "", "error_against_step or digits_lost"),
        Column("series", "text", "", "the method"),
        Column("x", "float", "1", "step, or condition number"),
        Column("y", "float", "1", "relative error, or decimal digits lost"),
    ],
    "errors": [
        Column("dataset", "text", "", "row of the sheet of datasets"),
        Column("item", "int", "", "index of the item in the manifest"),
        Column("name", "text", "", "name of the item"),
        Column("stage", "text", "", "where it failed"),
        Column("code", "text", "", "cause, for counting"),
        Column("message", "text", "", "what was wrong and what to do"),
    ],
}


def markdown() -> str:
    """The page docs/schema.md."""
    lines = ["# The tables of metrics.h5", "", "Generated from `scripts/svdflow/store/schema.py`.", ""]
    for table, columns in TABLES.items():
        lines += [f"## /{table}", "", "| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [
            f"| {c.name} | {c.kind} | {c.unit} | {c.description.replace('|', chr(92) + '|')} |"
            for c in columns
        ]
        lines.append("")
    return "\n".join(lines)
