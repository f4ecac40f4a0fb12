"""Archives of matrices, fields and a movie: targets met, and bytes beside ZFP, SZ3 and float32 factors."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import imagecodecs
import numpy as np
from skimage import data as samples

from svdflow.codec import decode, encode, streams
from svdflow.codec.comparison import at_error
from svdflow.codec.forms import Encoder
from svdflow.codec.other_codecs import curve, refusal
from svdflow.registry import CODECS

NAME = "archive"
TITLE = "Archives of quantized factors"

TARGETS = ("rel_error", "psnr", "max_abs")
ERRORS = (1e-1, 1e-2, 1e-3, 1e-4)
# Powers of two for ZFP, whose tolerance has no other steps.
LADDERS = {
    "zfp": tuple(2.0**-k for k in range(-6, 20)),
    "sz3": tuple(float(x) for x in np.geomspace(0.5, 2e-5, 24)),
}
SMALLEST = 2**12  # codes of a stream that is worth a row
SPECTRA = {
    "inverse": lambda k: 1 / k,
    "exponential": lambda k: np.exp(-k / 5),
    "flat": lambda k: np.ones(len(k)),
    "rank 8": lambda k: (k <= 8) * 1.0,
}
SHAPES = ((256, 256), (512, 128), (1000, 66), (2048, 32), (64, 1024), (300, 300))


def measure(*, small: bool, data: Path | None, say: Callable[[str], None]) -> dict[str, Any]:
    """How far below its target an archive stays; two fields at equal error; a noisy movie; entropy coders.

    Parameters
    ----------
    small : bool
        Four arrays, fields of 24 points a side, a short movie.
    data : Path, optional
        Not used.
    say : callable
        Prints progress.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        rows = list(_overshoots(path, small))
        say("archive: targets")
        for name, cutoff in (("-5/3", None), ("-5/3, dissipation above k = 8", 8.0)):
            A = turbulence(24 if small else 64, cutoff, seed=0)
            rows += _at_equal_error(name, A, path)
            say(f"archive: field {name}")
        rows += _movie(path, small)
        say("archive: movie")
    rows += _coders(small)
    below = [row["below_percent"] for row in rows if row["table"] == "target"]
    facts = {"targets": len(below), "largest_below_percent": max(below), "least_below_percent": min(below)}
    return {"facts": facts, "rows": rows}


def markdown(result: dict[str, Any]) -> str:
    """One table of each kind."""
    facts, rows = result["facts"], result["rows"]
    lines = ["### Targets", "", _line("target", "arrays", "median below, %", "most below, %", "above target")]
    lines.append(_line(*["---"] * 5))
    for target in TARGETS:
        below = [row["below_percent"] for row in rows if row["table"] == "target" and row["target"] == target]
        over = sum(value < 0 for value in below)
        lines.append(_line(target, len(below), f"{np.median(below):.2f}", f"{max(below):.2f}", over))
    worst = max((row for row in rows if row["table"] == "target"), key=lambda row: row["below_percent"])
    lines += [
        "",
        f"How far the measured error stays below its target, {facts['targets']} archives of 65,536 numbers or more; "
        f"the worst is {worst['array']} at {worst['target']} = {worst['value']:.3g}.",
        "",
        "### Fields at equal relative error",
        "",
        _line("field", "error", "codec", "bytes", "over the archive"),
        _line(*["---"] * 5),
    ]
    for row in rows:
        if row["table"] == "field":
            ratio = f"{row['ratio']:.2f}" if row["ratio"] == row["ratio"] and row["ratio"] else "-"
            size = f"{row['bytes']:.0f}" if row["bytes"] == row["bytes"] and row["bytes"] else "-"
            lines.append(_line(row["field"], f"{row['error']:g}", row["codec"], size, ratio))
    lines += [
        "",
        "float32 values in a cube; ZFP and SZ3 are interpolated between tolerances at the same measured error. "
        "A field of random phases with the spectrum -5/3 alone has full rank, and nobody is far ahead. One that is "
        "smooth at small scales, as flows are, is where factors are worth their bytes.",
        "",
        "### A noisy movie of rank 10",
        "",
        _line("codec", "bytes", "error to the noisy movie", "error to the clean movie"),
        _line(*["---"] * 4),
    ]
    for row in rows:
        if row["table"] == "movie":
            lines.append(_line(row["codec"], row["bytes"], f"{row['error']:.3f}", f"{row['clean']:.3f}"))
    coders = [row for row in rows if row["table"] == "coder"]
    names = [name for name in coders[0] if name not in ("table", "codes", "number")]
    lines += [
        "",
        "The archive is told rank 10, which takes the noise out; SZ3 has to keep it or lose the movie.",
        "",
        "### Entropy coders",
        "",
        _line("codes", "number", *names),
        _line(*["---"] * (2 + len(names))),
        *(_line(row["codes"], row["number"], *(row[name] for name in names)) for row in coders),
        "",
        "Bytes of the codes of a photograph of 512 pixels a side at a step of 40; entropy is that of one code alone. "
        "JPEG 2000 stands for its coding passes, without wavelets. Archives take it, pcodec or LZMA, whichever is "
        "smallest for a stream.",
    ]
    return "\n".join(lines) + "\n"


def turbulence(n: int, cutoff: float | None, *, seed: int) -> np.ndarray:
    """A periodic field (n, n, n), float32, of energy spectrum k^(-5/3), times exp(-2 k / cutoff) if given.

    Gaussian with independent phases; the exponential fall at small scales is that of the dissipation range (Pope,
    2000, equation 6.249).
    """
    k = np.fft.fftfreq(n) * n
    norm = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    norm[0, 0, 0] = np.inf
    # The energy of a shell is spread over its area, 4 pi k^2.
    amplitude = norm ** (-(5 / 3 + 2) / 2)
    if cutoff is not None:
        amplitude = amplitude * np.exp(-np.where(np.isfinite(norm), norm, 0.0) / cutoff)
    noise = np.random.Generator(np.random.Philox(seed)).standard_normal((n, n, n))
    field = np.fft.ifftn(np.fft.fftn(noise) * amplitude).real
    return (field / field.std()).astype(np.float32)


def _arrays(small: bool) -> Iterator[tuple[str, np.ndarray]]:
    draws = np.random.Generator(np.random.Philox(1))
    for number, (m, n) in enumerate(SHAPES[:1] if small else SHAPES):
        side = min(m, n)
        for name, spectrum in SPECTRA.items():
            U, V = (np.linalg.qr(draws.standard_normal((length, side)))[0] for length in (m, n))
            A = (U * spectrum(np.arange(1, side + 1))) @ V.T
            yield f"{m} x {n}, {name}", A.astype((np.float32, np.float64)[number % 2])
    if not small:
        yield "field of 48 points", turbulence(48, None, seed=1)
        yield "smooth field of 42 points", turbulence(42, 6.0, seed=2)
        yield "white noise", draws.standard_normal((260, 260)).astype(np.float32)
        yield "one in a hundred", draws.standard_normal((300, 300)) * (draws.random((300, 300)) < 0.01)
        yield "random walk", draws.standard_normal((24, 3000)).cumsum(0)
        yield "stack", draws.standard_normal((16, 64, 64)).cumsum(1).cumsum(2)


def _overshoots(path: Path, small: bool) -> Iterator[dict[str, Any]]:
    """One row an array and target."""
    for name, A in _arrays(small):
        span = float(A.max()) - float(A.min())
        for target, value in zip(TARGETS, (1e-2, 50.0, 1e-3 * span), strict=True):
            info = encode(A, path, **{target: value})
            error = A.astype(np.float64) - decode(path).astype(np.float64)
            got, goal = {
                "rel_error": (np.linalg.norm(error) / np.linalg.norm(A.astype(np.float64)), value),
                "psnr": (np.sqrt(np.mean(error**2)), span * 10 ** (-value / 20)),
                "max_abs": (np.abs(error).max(), value),
            }[target]
            below = 100 * (1 - float(got) / goal)
            yield {
                "table": "target",
                "array": name,
                "values": A.size,
                "target": target,
                "value": value,
                "below_percent": below,
                "form": info.form,
                "bytes": info.bytes,
            }


def _at_equal_error(name: str, A: np.ndarray, path: Path) -> list[dict[str, Any]]:
    """Rows of all codecs at each relative error."""
    peers = {
        key: curve(replace(CODECS[key], ladder=ladder), A, data_range=float("nan"), with_ssim=False)
        for key, ladder in LADDERS.items()
        if not refusal(CODECS[key], A)
    }
    rows = []
    for error in ERRORS:
        sizes = {form: encode(A, path, rel_error=error, form=form).bytes for form in ("tucker", "svd")}
        sizes |= {key: at_error(points, error) * A.size / 8 for key, points in peers.items()}
        sizes |= {
            "float32 factors, tucker": _tucker_bytes(A, error),
            "float32 factors, svd": _svd_bytes(A, error),
        }
        sizes["float32 values"] = A.nbytes
        ours = min(sizes["tucker"], sizes["svd"])
        rows += [
            {
                "table": "field",
                "field": name,
                "error": error,
                "codec": codec,
                "bytes": float(size),
                "ratio": float(size) / ours,
            }
            for codec, size in sizes.items()
        ]
    return rows


def _svd_bytes(A: np.ndarray, error: float) -> int:
    matrix = A.reshape(len(A), -1).astype(np.float64)
    return 4 * _count(np.linalg.svd(matrix, compute_uv=False), error) * (sum(matrix.shape) + 1)


def _tucker_bytes(A: np.ndarray, error: float) -> int:
    """The smallest core with equal ranks in all modes that reaches an error, and its factors."""
    core = A.astype(np.float64)
    for mode in range(A.ndim):
        U = np.linalg.svd(np.moveaxis(core, mode, 0).reshape(A.shape[mode], -1), full_matrices=False)[0]
        core = np.moveaxis(np.tensordot(U.T, core, axes=(1, mode)), 0, mode)
    total = float(np.square(core).sum())
    for r in range(1, max(A.shape) + 1):
        kept = float(np.square(core[(slice(r),) * A.ndim]).sum())
        if total - kept <= error**2 * total:
            return 4 * (r**A.ndim + r * sum(A.shape))
    return 4 * (core.size + sum(n * n for n in A.shape))


def _count(s: np.ndarray, error: float) -> int:
    """Singular values to keep for a relative error."""
    tails = np.sqrt(np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0)) / np.linalg.norm(s)
    return int(np.argmax(tails <= error))


def _movie(path: Path, small: bool) -> list[dict[str, Any]]:
    """Ten spots that flare up and fade, in noise of 0.87 of the whole."""
    frames, side = (150, 24) if small else (1500, 64)
    draws = np.random.Generator(np.random.Philox(3))
    y, x = np.mgrid[:side, :side]
    centres = draws.uniform(0.1, 0.9, (2, 10)) * side
    spots = np.exp(-((y[..., None] - centres[0]) ** 2 + (x[..., None] - centres[1]) ** 2) / (0.004 * side**2))
    events = draws.random((frames, 10)) < 0.02
    traces = np.zeros((frames, 10))
    for frame in range(1, frames):
        traces[frame] = 0.95 * traces[frame - 1] + events[frame]
    clean = np.tensordot(traces, spots, axes=(1, 2))
    noise = draws.standard_normal(clean.shape) * np.sqrt(np.mean(clean**2)) * 0.87 / np.sqrt(1 - 0.87**2)
    movie = (clean + noise).astype(np.float32)
    error = lambda A, B: float(np.linalg.norm(A - B) / np.linalg.norm(A))  # noqa: E731
    rows = []
    for size in (5000, 15000, 50000):
        info = encode(movie, path, bytes=size, rank=10, form="svd")
        decoded = decode(path)
        row = {"codec": "svd, rank 10", "bytes": info.bytes}
        rows.append({"table": "movie", **row, "error": error(movie, decoded), "clean": error(clean, decoded)})
    sz3 = CODECS["sz3"]
    if reason := refusal(sz3, movie):
        rows.append({"table": "movie", "codec": f"sz3: {reason}", "bytes": 0, "error": 1.0, "clean": 1.0})
        return rows
    for tolerance in (0.1, 0.5, 1.0, 2.0):
        size, decoded = sz3.code()(movie, tolerance)
        row = {"codec": f"sz3, tolerance {tolerance:g}", "bytes": size}
        rows.append({"table": "movie", **row, "error": error(movie, decoded), "clean": error(clean, decoded)})
    return rows


def _coders(small: bool) -> list[dict[str, Any]]:
    """Bytes of the same codes by each coder: of factors and of tiles."""
    image = samples.camera()[:128, :128] if small else samples.camera()
    rows = []
    for form in ("svd", "tiles"):
        coded = Encoder(image, form).at(40.0).coded
        for number, codes in enumerate(coded.streams):
            if codes.size < SMALLEST:
                continue
            # Bytes of 2|c| - [c < 0], the low ones of all codes first, as coders of bytes want them.
            folded = np.where(codes < 0, -2 * codes - 1, 2 * codes).astype("<u2")
            planes = np.ascontiguousarray(folded.reshape(-1, 1).view(np.uint8).T).tobytes()
            shares = np.unique(codes, return_counts=True)[1] / codes.size
            rows.append(
                {
                    "table": "coder",
                    "codes": f"{form}, stream {number}",
                    "number": codes.size,
                    "entropy": int(-codes.size * np.sum(shares * np.log2(shares)) / 8),
                    "JPEG 2000": len(streams.jpeg2000(codes, 1)),
                    "pcodec": len(streams.pcodec(codes)[1]),
                    "LZMA": len(streams.lzma_planes(codes)),
                    "Brotli": len(imagecodecs.brotli_encode(planes, level=11)),
                    "Zstandard": len(imagecodecs.zstd_encode(planes, level=19)),
                }
            )
    return rows


def _line(*cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
