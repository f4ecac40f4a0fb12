"""The command line: plan, check and resume a study; compress, denoise, encode or decode one file; repeat an audit."""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from svdflow.errors import ConfigError
from svdflow.escaping import visible
from svdflow.registry import DENOISERS
from svdflow.registry.kinds import IMAGES
from svdflow.registry.numerals import real, whole
from svdflow.registry.tasks.encode import FORMS, parse_target
from svdflow.study.run_lock import RunLock
from svdflow.study.sections.row import COLOURS
from svdflow.study.value_range import GIVEN, given_range

if TYPE_CHECKING:
    import pandas

    from svdflow.study.study import Study


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 where it did what was asked."""
    args = _parser().parse_args(arguments)
    try:
        return args.run(args)
    except ConfigError as error:
        print(f"svdflow: {error}", file=sys.stderr)
    except BrokenPipeError:  # the reader of our lines has had enough; Python would say so again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except _expected() as error:
        print(f"svdflow: {visible(error) or type(error).__name__}", file=sys.stderr)
    return 1


def _expected() -> tuple[type[Exception], ...]:
    """What bad input and a full disk raise: one line on the terminal, no traceback."""
    from svdflow.errors import ItemError

    return OSError, ValueError, ArithmeticError, MemoryError, ImportError, RuntimeError, ItemError


def plan(args: argparse.Namespace) -> int:
    """Print what a run will do; with --write, fix the order of the files in the manifests."""
    _prepare(_study(args), write=args.write, quiet=args.quiet)
    return 0


def _prepare(study: "Study", *, write: bool, quiet: bool) -> None:
    from svdflow.study import manifest
    from svdflow.study.estimate import check_disk, estimate, table
    from svdflow.study.outputs import check_outputs

    check_outputs(study)
    estimates = estimate(study)
    if not quiet:
        print(visible(table(study, estimates), keep="\n"))
    check_disk(study, estimates)
    if write:
        for name in study.named("images") + study.named("matrix"):
            if {"compress", "denoise", "encode"} & set(study.datasets[name].tasks):
                study.value_ranges(name)  # the manifest keeps what the images span
            manifest.write(study.manifest(name), study.manifest_path(name))


def run(args: argparse.Namespace) -> int:
    """Run a study: write the manifests, make way for what is damaged, start Snakemake."""
    from svdflow.study.launch import launch

    study = _study(args)
    _prepare(study, write=True, quiet=args.quiet)
    return launch(study, args.config, args.words, checksums=False)


def check(args: argparse.Namespace) -> int:
    """Verify that every result is complete and as svdflow left it; names all that are not."""
    from svdflow.store import StoreError, verify
    from svdflow.study.repair import changed_files

    study = _study(args)
    files = sorted(p for p in study.results.rglob("*.h5") if not _hidden(p.relative_to(study.results)))
    damaged = 0
    for file in files:
        try:
            verify(file)
        except (StoreError, OSError) as error:
            damaged += 1
            print(visible(error), file=sys.stderr)
    changed = list(changed_files(study))
    for sentence in changed:
        print(visible(sentence), file=sys.stderr)
    beside = f", {len(changed)} changed or missing" if changed else ""
    print(f"{len(files)} files checked, {damaged} damaged{beside}")
    if damaged or changed:
        print(
            "'make resume' makes anew what is damaged or missing; what was changed is yours: move it elsewhere first"
        )
    return int(bool(damaged or changed) or not files)


def _hidden(path: Path) -> bool:
    """Whether it is of a run that goes on, or was killed: a temporary file or a checkpoint."""
    return any(part.startswith(".") for part in path.parts)


def resume(args: argparse.Namespace) -> int:
    """Go on after a kill or damage: release the lock that is left, verify every result, and run what is due."""
    from svdflow.study.launch import launch

    return launch(_study(args), args.config, args.words, checksums=True)


def clean(args: argparse.Namespace) -> int:
    """Remove the results of a study: what svdflow wrote and nobody changed, and nothing else."""
    from svdflow.study.config import complete_config, load_config
    from svdflow.study.outputs import clean as remove

    root = _workflow()
    files = [root / "config" / "config.yaml", *([Path(args.config)] if args.config else [])]
    results = Path(complete_config(load_config(files), files)["pathvars"]["results"])
    lock = RunLock(results)
    if holder := lock.holder():
        raise ConfigError(lock.complaint(holder))
    removed, kept = remove(results)
    print(f"{removed} files removed from {results}/")
    for path, why in kept[:_NAMED]:
        print(f"kept {visible(path)}: {why}")
    if len(kept) > _NAMED:
        print(f"kept {len(kept) - _NAMED} more")
    if kept:
        print("what an earlier version of svdflow wrote without marks becomes its own by 'svdflow adopt'")
    return 0


def adopt(args: argparse.Namespace) -> int:
    """Mark the results of an earlier version of svdflow, which kept no marks, as its own."""
    from svdflow.study.outputs import adopt as find

    found = find(_study(args), write=args.yes)
    for path in found[:_NAMED]:
        print(visible(path))
    if len(found) > _NAMED:
        print(f"and {len(found) - _NAMED} more")
    if args.yes or not found:
        print(f"{len(found)} files are svdflow's from now on")
    else:
        print(
            f"{len(found)} files without a mark stand where this study writes. If svdflow wrote them all, "
            "'svdflow adopt --yes' marks them; runs replace them then, and 'svdflow clean' removes them"
        )
    return 0


_NAMED = 20  # files that a message lists


def compress(args: argparse.Namespace) -> int:
    """Compress one image at several ranks: pictures and a table."""
    from svdflow.store import read_table
    from svdflow.tasks.compress import compress_shard

    with tempfile.TemporaryDirectory() as scratch:
        matrices, factors = _one_file(args, Path(scratch), max(args.ranks))
        out, pictures = Path(scratch) / "compress.h5", Path(scratch) / "pictures"
        compress_shard(
            matrices, factors, out, pictures, dataset="file", shard=0, ranks=args.ranks, energies=[],
            powers_of_two=False, metrics=["psnr", "ssim"], images="all", data_range=_ranges(args),
        )  # fmt: skip
        columns = ["plane", "rank", "value_ratio", "relative_error", "psnr", "ssim", "explained_energy"]
        table = read_table(out, "compress")
        _say_range(table)
        return _show(table[columns], [matrices, factors, out], pictures, args)


def _ranges(args: argparse.Namespace) -> list[Any]:
    """The range that was given on the command line, for all samples; none where the file tells it."""
    return [] if args.data_range is None else given_range(args.data_range)


def _say_range(table: "pandas.DataFrame") -> None:
    """Name what PSNR and SSIM refer to."""
    for (value, source), _ in table.groupby(["data_range", "data_range_source"]):
        print(f"PSNR and SSIM with data range {value:g}: {source}")


def denoise(args: argparse.Namespace) -> int:
    """Denoise one image: the picture and a table."""
    from svdflow.store import read_table
    from svdflow.tasks.denoise import denoise_shard

    with tempfile.TemporaryDirectory() as scratch:
        # Methods of groups and pictures do not look at the factors of the whole.
        needed = DENOISERS[args.method].works_on == "factors"
        matrices, factors = _one_file(args, Path(scratch), 2**31 - 1 if needed else 1, needed=needed)
        out, pictures = Path(scratch) / "denoise.h5", Path(scratch) / "pictures"
        denoise_shard(
            matrices, factors, out, pictures, dataset="file", shard=0, method=args.method, ranks=[1],
            rank_rules=["gavish_donoho"], sigma=args.sigma, passes=args.passes, poisson=args.poisson,
            data_range=_ranges(args),
        )  # fmt: skip
        table = read_table(out, "denoise")
        columns = ["plane", "rule", "rank", "sigma_used", "sigma_source", "error_observed", "residual_ratio"]
        return _show(table[table["chosen"]][columns], [matrices, factors, out], pictures, args)


def encode(args: argparse.Namespace) -> int:
    """Archive an array (.npy, or a grey image) as quantized factors, at an error or a size."""
    import numpy as np

    from svdflow.codec import encode as encode_array
    from svdflow.images.item_range import value_range

    targets = {key: value for key in _TARGETS if (value := getattr(args, key)) is not None}
    if len(targets) != 1:
        raise ValueError(f"encode: name one of {', '.join('--' + k.replace('_', '-') for k in _TARGETS)}")
    _refuse_input(args.file, [Path(args.out)])
    array, data_range, source = _array(Path(args.file))
    if args.nan_missing and array.dtype.kind == "f":
        array = np.ma.masked_where(np.isnan(array), array)
    if args.data_range is not None:
        data_range, source = args.data_range, GIVEN
    elif data_range is None and array.dtype.kind in "fiu":
        data_range, source = value_range([np.ma.compressed(array)])[2:]
    info = encode_array(array, args.out, form=args.form, data_range=data_range, force=args.force, **targets)
    size = f"{info.bytes:,} bytes, {info.bits_per_value:.3g} bits a value"
    errors = f"relative error {info.rel_error:.3g}, largest error {info.max_abs:.3g}, PSNR {info.psnr:.2f} dB"
    errors += f" with data range {data_range:g}: {source}" if source else ""
    missing = f"; {info.masked} values are missing" if info.masked else ""
    print(f"{visible(args.out)}: form {info.form}, rank {info.rank}; {size}; {errors}{missing}")
    return 0


def decode(args: argparse.Namespace) -> int:
    """Decode an archive into a .npy file or, by its ending, a picture; at a smaller rank if one is given."""
    import numpy as np

    from svdflow.codec import decode as decode_archive
    from svdflow.images.io import write_image
    from svdflow.store import publish_file

    _refuse_input(args.archive, [Path(args.out)])
    array = _filled(decode_archive(args.archive, rank=args.rank), args)
    with publish_file(args.out, force=args.force) as unfinished:
        if unfinished.suffix == ".npy":
            np.save(unfinished, array)
        else:
            write_image(unfinished, array)
    print(f"{visible(args.out)}: {' x '.join(map(str, array.shape))}, {array.dtype}")
    return 0


def _filled(array: Any, args: argparse.Namespace) -> Any:
    """A plain array; missing values become the number that was asked for, or NaN where the type has one."""
    import numpy as np

    if not isinstance(array, np.ma.MaskedArray):
        return array
    if args.fill is None and (array.dtype.kind != "f" or Path(args.out).suffix != ".npy"):
        raise ValueError(
            f"{args.archive}: {np.ma.count_masked(array)} values are missing, and {array.dtype} in {args.out} has no "
            "sign for that; name a number for them: --fill"
        )
    if args.fill is not None and not _holds(array.dtype, args.fill):
        wanted = "number" if array.dtype.kind == "f" else "whole number"
        raise ValueError(f"--fill {args.fill:g} is no value of {array.dtype}; take a {wanted} that it holds")
    return array.filled(np.nan if args.fill is None else args.fill)


def _npy(path: Path) -> Any:
    """The array of a .npy file; what NumPy says of one that is none may advise to unpickle it."""
    import numpy as np

    from svdflow.matrix.formats.raw import npy_header

    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise ValueError(f"{path}: not a regular file")
    with path.open("rb") as file:
        shape, _, dtype = npy_header(file, str(path))
        held = os.fstat(file.fileno()).st_size - file.tell()
    if dtype.kind not in "biufc" or math.prod(shape) * dtype.itemsize > held:
        raise ValueError(f"{path}: holds no numbers, or fewer than its header says")
    return np.load(path, allow_pickle=False)


def _holds(dtype: Any, value: float) -> bool:
    """Whether a number is one of an integer type, or within the range of a float type."""
    import numpy as np

    if dtype.kind == "f":
        return abs(value) <= float(np.finfo(dtype).max)
    if dtype.kind == "b":
        return value in (0, 1)
    return value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


_TARGETS = ("rel_error", "psnr", "max_abs", "bytes")


def _array(path: Path) -> tuple[Any, float | None, str]:
    """An array of numbers with its data range and where that comes from, from a .npy file or a grey image.

    A picture with missing pixels is a masked array.
    """
    import numpy as np

    if path.suffix == ".npy":
        return _npy(path), None, ""
    from svdflow.images.colour import luma
    from svdflow.images.io import read_image

    record = read_image(path)
    if len(record.pages) > 1:
        raise ValueError(
            f"{path}: {len(record.pages)} pages; save them as one .npy array (height, width, pages)"
        )
    page, mask = record.pages[0].array, record.pages[0].mask
    plane = luma(page) if page.ndim == 3 else page
    whole = plane if mask is None else np.ma.MaskedArray(plane, ~mask)
    return whole, record.attrs["data_range"], record.attrs["data_range_source"]


def audit(args: argparse.Namespace) -> int:
    """Repeat audits by name, or audit stored arrays (FILE.h5:/path) and functions of your own (FILE.py:name)."""
    from svdflow.audit.records import Record, worst_first
    from svdflow.selfcheck.catalogue import run_catalogue

    records = run_catalogue(args.names or None, seed=args.seed)
    print(Record.HEAD)
    for record in sorted(records, key=worst_first):
        print(visible(record))
    ten = [record for record in sorted(records, key=worst_first) if record.verdict != "PASS"][:10]
    if ten and len(records) > 1:
        print("\nThe worst, and how to repeat them:")
        for record in ten:
            print(visible(f"{record.verdict:<12} {record.audit} {record.subject}: {record.reproduce}"))
    return int(any(record.verdict in ("FAIL", "ERROR") for record in records))


def _refuse_input(file: str, outputs: Sequence[Path]) -> None:
    """Refuse to write over the file that is read, whatever it is called; --force does not allow it either."""
    from svdflow.images.io import split_dataset

    read, _ = split_dataset(file)
    for path in outputs:
        if path.exists() and read.exists() and path.samefile(read):
            raise ValueError(f"{path} is the file that is read; name another one for what is written")


def _one_file(args: argparse.Namespace, scratch: Path, rank: int, needed: bool = True) -> tuple[Path, Path]:
    from svdflow.images.ingest_images import ingest_images
    from svdflow.svd.factorize_shard import factorize_shard

    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise ValueError(f"{args.out} is a file; name a folder for the pictures")
    matrices, factors = scratch / "matrices.h5", scratch / "factors.h5"
    file = {"index": 0, "path": args.file, "name": Path(args.file).name}
    ingest_images(
        [file],
        matrices,
        dataset="file",
        shard=0,
        colour=args.colour,
        noise_sigma=[],
        seed=0,
        fill=args.fill or "",
    )
    factorize_shard(
        matrices, factors, dataset="file", shard=0, item_rank=rank, noisy_rank=0, seed=0, refuse_masked=needed
    )
    return matrices, factors


def _show(table: "pandas.DataFrame", stages: Sequence[Path], pictures: Path, args: argparse.Namespace) -> int:
    """Put the pictures into their folder; print a table and what any stage could not do."""
    from svdflow.store import publish_files, read_table

    messages = [message for stage in stages for message in read_table(stage, "errors")["message"]]
    for message in messages:
        print(f"svdflow: {visible(message)}", file=sys.stderr)
    if len(table):
        files = [p.relative_to(pictures) for p in pictures.rglob("[!.]*") if p.is_file()]
        _refuse_input(args.file, [Path(args.out) / file for file in files])
        publish_files(pictures, args.out, force=args.force)
        print(table.to_string(index=False))
        print(f"pictures in {visible(args.out)}")
    return int(bool(messages) or table.empty)


def _count(text: str) -> int:
    return _number(text, "a whole number of at least 1", whole, 1, 2**31 - 1)


def _seed(text: str) -> int:
    return _number(text, "a whole number from 0 to 4294967295", whole, 0, 2**32 - 1)


def _level(text: str) -> float:
    return _number(text, "a finite number of at least 0, such as 25", real, 0, math.inf)


def _figure(text: str) -> float:
    return _number(text, "a finite number such as -9999", real, -math.inf, math.inf)


def _positive(text: str) -> float:
    return _number(text, "a finite number above 0, such as 255", real, math.ulp(0.0), sys.float_info.max)


def _fill(text: str) -> str:
    if text not in ("mean", "median"):
        _number(text, "mean, median or a number", real, -math.inf, math.inf)
    return text


def _number(text: str, wanted: str, read: Callable[[str], Any], low: float, high: float) -> Any:
    try:
        value = read(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _target(kind: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse_target(f"{kind}={text}")[1]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


_FILL = "what stands in place of missing pixels: mean, median or a number"
_PEAK = "peak of PSNR and SSIM, in place of the one that the file tells"


def _study(args: argparse.Namespace) -> "Study":
    from svdflow.study.study import Study

    return Study.load(_workflow(), args.config)


def _workflow() -> Path:
    root = Path.cwd()
    if not (root / "Snakefile").is_file() or not (root / "config" / "config.yaml").is_file():
        raise ConfigError(f"{root} is not a svdflow workflow; change to the folder of its Snakefile")
    return root


class _Parser(argparse.ArgumentParser):
    """Repeats wrong words so that they are read only."""

    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="svdflow", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(run, *, study: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        sub.set_defaults(run=run)
        if study:
            sub.add_argument("--config", help="file of a study, laid over config/config.yaml")
        return sub

    def forced(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--force", action="store_true", help="replace files that svdflow did not write")

    planning = command(plan, study=True)
    planning.add_argument("--write", action="store_true", help="write the manifests")
    planning.add_argument("--quiet", action="store_true", help="print only what is wrong")
    command(check, study=True)
    for going in (run, resume):
        sub = command(going, study=True)
        if going is run:
            sub.add_argument(
                "--quiet", action="store_true", help="print only what is wrong before jobs start"
            )
        sub.add_argument("words", nargs="*", metavar="-- WORD", help="for Snakemake, after --: -- --cores 4")
    command(clean, study=True)
    command(adopt, study=True).add_argument("--yes", action="store_true", help="write the marks")
    for one_file in (compress, denoise):
        one = command(one_file)
        one.add_argument("file", help="an image")
        one.add_argument("out", help="folder for the pictures, beside what is in it")
        forced(one)
        one.add_argument("--colour", choices=COLOURS, default="rgb")
        one.add_argument("--data-range", type=_positive, help=_PEAK)
        one.add_argument("--fill", type=_fill, help=_FILL)
        if one_file is compress:
            one.add_argument("--ranks", type=_count, nargs="+", default=[1, 5, 20, 50])
        else:
            pictures = [name for name, one in DENOISERS.items() if IMAGES in one.applies_to]
            one.add_argument("--method", choices=pictures, default="shrink")
            one.add_argument("--sigma", type=_level, default=0.0, help="noise level, where it is known")
            one.add_argument("--passes", type=_count, default=5, help="of patch_svd")
            one.add_argument("--poisson", action="store_true", help="the values are counts")
    archiving = command(encode)
    archiving.add_argument("file", help="a .npy array, or an image, of which the luma is taken")
    archiving.add_argument("out", help="the archive, an HDF5 file")
    forced(archiving)
    archiving.add_argument("--data-range", type=_positive, help=_PEAK)
    archiving.add_argument("--form", choices=["auto", *FORMS], default="auto")
    archiving.add_argument("--nan-missing", action="store_true", help="NaN are missing values, and stay so")
    for target in _TARGETS:
        option = "--" + target.replace("_", "-")
        archiving.add_argument(option, dest=target, type=_target(target))
    reading = command(decode)
    reading.add_argument("archive")
    reading.add_argument("out", help="a .npy file, or a picture")
    forced(reading)
    reading.add_argument("--rank", type=_count)
    reading.add_argument("--fill", type=_figure, help="number that missing values become")
    auditing = command(audit)
    auditing.add_argument(
        "names",
        nargs="*",
        help="audits, families, FILE.h5:/array or FILE.py:function; all that need no data where none is named",
    )
    auditing.add_argument("--seed", type=_seed, default=42)
    return parser


if __name__ == "__main__":
    sys.exit(main())
