"""Commands on one picture: compress it, denoise it. They run the stages of a study on a dataset of one file."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svdflow.command_line.argument_types import count, figure, fill, level
from svdflow.command_line.command import DATA_RANGE, FORCE, Command, Option, option, refuse_input
from svdflow.escaping import visible
from svdflow.registry import DENOISERS
from svdflow.registry.kinds import IMAGES, Denoiser
from svdflow.study.sections.row import COLOURS
from svdflow.study.value_range import given_range

if TYPE_CHECKING:
    import pandas

READERS: dict[Any, Callable[[str], Any]] = {int: count, float: figure}
ALL = 2**31 - 1  # a rank that no picture has: all singular values, which shrinkers look at


def compress(args: argparse.Namespace) -> int:
    """Compress one image at several ranks: pictures and a table."""
    from svdflow.store import read_table
    from svdflow.tasks.compress import compress_shard

    with _factorized(args, max(args.ranks)) as (matrices, factors, out, pictures):
        compress_shard(
            matrices, factors, out, pictures, dataset="file", shard=0, ranks=args.ranks, energies=[],
            powers_of_two=False, metrics=["psnr", "ssim"], images="all", data_range=_ranges(args),
        )  # fmt: skip
        columns = ["plane", "rank", "value_ratio", "relative_error", "psnr", "ssim", "explained_energy"]
        table = read_table(out, "compress")
        for (value, source), _ in table.groupby(["data_range", "data_range_source"]):
            print(f"PSNR and SSIM with data range {value:g}: {source}")
        return _show(table[columns], [matrices, factors, out], pictures, args)


def denoise(args: argparse.Namespace) -> int:
    """Denoise one image: the picture and a table."""
    from svdflow.store import read_table
    from svdflow.tasks.denoise import denoise_shard

    # Methods of groups and pictures do not look at the factors of the whole.
    declared = DENOISERS[args.method]
    given = {name: value for name in _options() if (value := getattr(args, name)) is not None}
    if foreign := sorted(given.keys() - declared.options.model_fields.keys()):
        owners = ", ".join(method.name for method in _options()[foreign[0]])
        raise ValueError(f"--{foreign[0]} is an option of {owners}; leave it out for {declared.name}")
    by_factors = declared.works_on == "factors"
    with _factorized(args, ALL if by_factors else 1, needed=by_factors) as (matrices, factors, out, pictures):
        denoise_shard(
            matrices, factors, out, pictures, dataset="file", shard=0, method=args.method, ranks=[1],
            rank_rules=["gavish_donoho"], sigma=args.sigma, poisson=args.poisson, data_range=_ranges(args),
            options=given,
        )  # fmt: skip
        table = read_table(out, "denoise")
        columns = ["plane", "rule", "rank", "sigma_used", "sigma_source", "error_observed", "residual_ratio"]
        return _show(table[table["chosen"]][columns], [matrices, factors, out], pictures, args)


@contextmanager
def _factorized(
    args: argparse.Namespace, rank: int, needed: bool = True
) -> Iterator[tuple[Path, Path, Path, Path]]:
    """A shard of the one file, its factors, and where the stage may put its results and its pictures."""
    from svdflow.images.ingest_images import ingest_images
    from svdflow.svd.factorize_shard import factorize_shard

    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise ValueError(f"{args.out} is a file; name a folder for the pictures")
    with tempfile.TemporaryDirectory() as scratch:
        matrices, factors, out = (Path(scratch) / f"{stage}.h5" for stage in ("matrices", "factors", "out"))
        file = {"index": 0, "path": args.file, "name": Path(args.file).name}
        ingest_images(
            [file], matrices, dataset="file", shard=0, colour=args.colour, noise_sigma=[], seed=0,
            fill=args.fill or "",
        )  # fmt: skip
        factorize_shard(
            matrices, factors, dataset="file", shard=0, item_rank=rank, noisy_rank=0, seed=0,
            refuse_masked=needed,
        )  # fmt: skip
        yield matrices, factors, out, Path(scratch) / "pictures"


def _methods() -> list[Denoiser]:
    """Denoisers of pictures."""
    return [method for method in DENOISERS.values() if IMAGES in method.applies_to]


def _options() -> dict[str, list[Denoiser]]:
    """Options of denoisers of pictures, and whose they are."""
    found: dict[str, list[Denoiser]] = {}
    for method in _methods():
        for name in method.options.model_fields:
            found.setdefault(name, []).append(method)
    return found


def _ranges(args: argparse.Namespace) -> list[Any]:
    """The range that was given on the command line, for all samples; none where the file tells it."""
    return [] if args.data_range is None else given_range(args.data_range)


def _show(table: "pandas.DataFrame", stages: Sequence[Path], pictures: Path, args: argparse.Namespace) -> int:
    """Put the pictures into their folder; print a table and what any stage could not do."""
    from svdflow.store import read_table
    from svdflow.store.files import publish_files

    messages = [message for stage in stages for message in read_table(stage, "errors")["message"]]
    if table.empty and not messages:
        messages = [f"{args.file}: {getattr(args, 'method', 'compress')} has nothing in it to work on"]
    for message in messages:
        print(f"svdflow: {visible(message)}", file=sys.stderr)
    if len(table):
        files = [p.relative_to(pictures) for p in pictures.rglob("[!.]*") if p.is_file()]
        refuse_input(args.file, [Path(args.out) / file for file in files])
        publish_files(pictures, args.out, force=args.force)
        print(table.to_string(index=False))
        print(f"pictures in {visible(args.out)}")
    return int(bool(messages) or table.empty)


PICTURE_OPTIONS = [
    option("file", help="an image"),
    option("out", help="folder for the pictures, beside what is in it"),
    option("--colour", choices=COLOURS, default="rgb"),
    option("--fill", type=fill, help="what stands in place of missing pixels: mean, median or a number"),
    FORCE,
    DATA_RANGE,
]
RANKS = option("--ranks", type=count, nargs="+", default=[1, 5, 20, 50])


def _denoise_options() -> list[Option]:
    methods = _methods()
    said = "; ".join(f"{method.name}: {method.summary}" for method in methods)
    found = [
        *PICTURE_OPTIONS,
        option("--method", choices=[method.name for method in methods], default="shrink", help=said),
        option("--sigma", type=level, default=0.0, help="noise level, where it is known"),
        option("--poisson", action="store_true", help="the values are counts"),
    ]
    for name, owners in _options().items():
        field = owners[0].options.model_fields[name]
        words = f"for {', '.join(method.name for method in owners)}: {field.description}"
        found.append(option(f"--{name}", type=READERS.get(field.annotation, str), help=words))
    return found


COMMANDS = [Command(compress, [*PICTURE_OPTIONS, RANKS]), Command(denoise, _denoise_options)]
