"""The kinds of declarations: what is known of each before its code is imported."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from svdflow.errors import RegistryError
from svdflow.registry.declaration import Declaration, imported
from svdflow.registry.options import NoOptions, Options

IMAGES, SYNTHETIC, MATRIX = "images", "synthetic", "matrix"
EVERYTHING = (IMAGES, SYNTHETIC, MATRIX)


@dataclass(frozen=True, kw_only=True)
class Denoiser(Declaration):
    """A denoiser: a function ``method(x, sigma=None, *, ...)``.

    It gives a `svdflow.denoisers.Denoised`, or a plain array of the shape of `x`. Of the arguments ``rank``, ``mask``,
    ``data_range``, ``colour``, ``seed``, ``threads`` and ``memory_limit`` it is given those that stand in its
    signature, and its options.

    Attributes
    ----------
    applies_to : sequence of str
        Kinds of datasets.
    works_on : str
        ``factors`` of the whole plane (`svdflow.denoisers.ObservedSpectrum`, or a matrix from Python); or values: a
        ``picture`` (H, W[, C]), a ``series`` (..., T), ``columns`` (T, n).
    rule : str
        How it chooses what to keep, for the column `rule`; empty where rank rules choose. One that works on values and
        names none stands there under its own name.
    masks : bool
        Whether it leaves out what is missing; one that does not refuses it by name.
    cost : float
        Seconds of one core that a million values take (benchmarks/images.py --case denoise); 0 for next to nothing.
    memory : float
        Bytes of memory that a value takes at most; what exceeds the limit of a job is refused as ``too_large``. 0 for a
        method that takes a ``memory_limit`` and keeps to it by itself.
    options : type of Options
        What it can be asked beside noise level and rank.
    arguments : mapping
        What it is called with, by name, where its own defaults are others.
    """

    applies_to: Sequence[str]
    works_on: str
    rule: str = ""
    masks: bool = True
    cost: float = 0.0
    memory: float = 64.0
    options: type[Options] = NoOptions
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", self.name):  # it names folders and wildcards
            raise RegistryError(
                f"denoiser {self.name!r}: a name is a small letter, then small letters, digits and '_', at most 64; "
                "rename it"
            )


@dataclass(frozen=True, kw_only=True)
class RankRule(Declaration):
    """A rule that chooses a rank.

    Attributes
    ----------
    needs : set of str
        What it cannot do without: ``sigma``, ``all_values`` (all singular values), ``matrix``.
    """

    needs: frozenset[str] = frozenset()

    @property
    def by_spectrum(self) -> bool:
        """Whether singular values are enough, so that compression can ask for it."""
        return not self.needs & {"sigma", "matrix"}


@dataclass(frozen=True, kw_only=True)
class Shrinker(Declaration):
    """A shrinker of singular values, named for the loss that it is optimal for."""


@dataclass(frozen=True, kw_only=True)
class SVDMethod(Declaration):
    """A method of `svdflow.truncated_svd`; its code is a subclass of `svdflow.svd.algorithm.Algorithm`.

    Attributes
    ----------
    advice : str
        What to take it for.
    cost : str
        ``"package.module:name"`` of a function from a `svdflow.svd.costs.Problem` to the seconds that the method is
        expected to take, infinite where it is not to be considered. What has one is a candidate of method ``auto``.
    in_memory : bool
        Whether the whole matrix has to be in memory.
    needs_entries : bool
        Whether products with the matrix are not enough.
    backends : tuple of str
        What it computes on: ``numpy``, ``cupy``.
    """

    advice: str
    cost: str = ""
    in_memory: bool = False
    needs_entries: bool = False
    backends: tuple[str, ...] = ("numpy", "cupy")

    def seconds(self, problem: Any) -> float:
        """Expected time of a candidate of ``auto``."""
        return float(imported(self.cost)(problem))


def rows_and_columns(params: Mapping[str, Any]) -> tuple[int, int]:
    """The shape of a matrix whose family has these two parameters."""
    return params["rows"], params["columns"]


@dataclass(frozen=True, kw_only=True)
class Generator(Declaration):
    """A family of synthetic matrices; its code is a function (params, seed) that gives a `GeneratedMatrix`.

    Attributes
    ----------
    truth : str
        How its singular values are known.
    options : type of Options
        Its parameters: ``dtype`` is one, and ``noise`` where noise is added.
    shape : function of the parameters
        Rows and columns of the matrix.
    grid : function of the parameters, optional
        Height and width of the picture that a column is, row by row.
    entries : function of the parameters, optional
        Number of stored entries; given where the matrix is sparse.
    """

    truth: str
    options: type[Options]
    shape: Callable[[Mapping[str, Any]], tuple[int, int]] = rows_and_columns
    grid: Callable[[Mapping[str, Any]], tuple[int, int]] | None = None
    entries: Callable[[Mapping[str, Any]], int] | None = None

    @property
    def sparse(self) -> bool:
        """Whether its matrices are sparse, in rows (CSR)."""
        return self.entries is not None


@dataclass(frozen=True, kw_only=True)
class Codec(Declaration):
    """A codec that archives are compared with; its code is a function (array, setting) -> (bytes, decoded array).

    Attributes
    ----------
    title : str
        For a person: ``JPEG 2000``.
    picture : bool
        Whether it is made for pictures: curves are then compared by PSNR, else by relative error.
    dtypes : sequence of str
        Types that it takes, by NumPy's names.
    dimensions : (int, int)
        Fewest and most dimensions that it takes.
    lossless : bool
    ladder : sequence of float
        Settings that are measured, coarse to fine; what they mean is the codec's.
    side : int
        Longest side that it takes.
    finite : bool
        Whether it takes finite values alone.
    library : str
        Name in imagecodecs of the library that must have been built in; empty where there is none.
    """

    title: str
    picture: bool
    dtypes: Sequence[str]
    dimensions: tuple[int, int]
    lossless: bool
    ladder: Sequence[float]
    side: int = 2**31 - 1
    finite: bool = False
    library: str = ""


@dataclass(frozen=True, kw_only=True)
class ArchiveForm(Declaration):
    """A form of an archive; its code is a class that quantizes an array at any step, with a function ``restore``.

    Attributes
    ----------
    dimensions : (int, int)
        Fewest and most dimensions of the arrays that can take it.
    """

    dimensions: tuple[int, int]


SIGNATURE = 32  # bytes at the start of a file in which a signature stands; the longest, of BMP, takes 16


@dataclass(frozen=True, kw_only=True)
class FileFormat(Declaration):
    """How files of a format are recognized.

    Attributes
    ----------
    title : str
        For a person: ``WebP``.
    suffixes : sequence of str
        Of file names, in lower case, with their dots.
    signature : bytes
        Regular expression that the first bytes of each file match; empty where there is none.
    user_block : int
        The signature may stand behind so many bytes too, and any power of two times as many; 0 for at the start only.
    """

    title: str
    suffixes: Sequence[str]
    signature: bytes = field(default=b"", repr=False)
    user_block: int = 0

    def begins(self, start: bytes) -> bool:
        """Whether the first bytes of a file are those of this format."""
        return bool(self.signature) and re.match(self.signature, start, re.DOTALL) is not None

    def recognizes(self, path: str | PathLike[str]) -> bool:
        """Whether a file bears the signature."""
        with open(path, "rb") as file:
            place = 0
            while start := file.read(SIGNATURE):
                if self.begins(start):
                    return True
                place = max(2 * place, self.user_block)
                if not place:
                    return False
                file.seek(place)
        return False


@dataclass(frozen=True, kw_only=True)
class ImageFormat(FileFormat):
    """A format of image files; its code is a function of an `ImageFile` that gives pages and attributes.

    Attributes
    ----------
    datasets : bool
        Whether a file may hold several arrays, of which one is named.
    """

    signature: bytes = field(repr=False)
    datasets: bool = False


@dataclass(frozen=True, kw_only=True)
class MatrixFormat(FileFormat):
    """A format of matrix files; its code is a function of a path and the keywords in `takes` that gives a source.

    Attributes
    ----------
    takes : set of str
        Which of the arguments of `open_matrix` it has a use for.
    panels : bool
        Whether matrices are read panel by panel; else they are held in memory.
    folder : bool
        Whether it is a folder.
    """

    takes: frozenset[str] = frozenset()
    panels: bool = True
    folder: bool = False
