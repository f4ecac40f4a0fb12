"""Compression and denoising of images beside the methods of others: quality, bytes and time.

    python benchmarks/images.py                    every case, on an idle machine
    python benchmarks/images.py --case denoise     the cases whose names begin so (may be given again)
    python benchmarks/images.py --small            all of it on tiny images, in a minute; printed and not kept
    python benchmarks/images.py --list             names and titles
    python benchmarks/images.py --data kodak       a folder of own images beside those of scikit-image

Results go to benchmarks/results/images.json, merged by case, and from there to results/images.md. A case that fails is
reported, keeps its older result, and makes the exit status 1; the others run.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "scripts"), str(HERE)]

from svdbench.report import load, save  # noqa: E402
from svdbench.timing import machine  # noqa: E402

RESULTS = HERE / "results"
PACKAGE = "imagebench"
CASES = ("ranks", "denoise", "stacks", "archive", "photographs", "oscillations", "squares", "cost")
SCHEMA = 1


def main(arguments: Sequence[str] | None = None) -> int:
    given = parsed(arguments)
    if given.list:
        print("\n".join(f"{name:12} {title(name)}" for name in given.cases))
        return 0
    results = given.results or RESULTS
    kept = not given.small or bool(given.results)
    document = load(results / "images.json") if kept else {}
    if document.get("schema", SCHEMA) != SCHEMA:
        raise SystemExit(f"results of schema {document['schema']}, not {SCHEMA}: move them away")
    document = {"schema": SCHEMA, "cases": document.get("cases", {})}
    failed = []
    for name in given.cases:
        try:
            document["cases"][name] = run(name, given.small, given.data)
        except Exception as error:  # the other cases go on
            failed.append(name)
            say("".join(traceback.format_exception(error)))
            continue
        if kept:
            save(results / "images.json", json.dumps(document, indent=1, sort_keys=True) + "\n")
            save(results / "images.md", page(document["cases"]))
    print(page({name: document["cases"][name] for name in given.cases if name not in failed}))
    if failed:
        say(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", default=[], help="name, or how names begin")
    parser.add_argument("--small", action="store_true", help="tiny images; results are printed and not kept")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--data", type=Path, help="folder of images to take along")
    parser.add_argument("--results", type=Path, help="folder for results, in place of the repository's")
    given = parser.parse_args(arguments)
    unknown = [asked for asked in given.case if not any(name.startswith(asked) for name in CASES)]
    if unknown:
        parser.error(f"no case begins with {', '.join(unknown)}; there are {', '.join(CASES)}")
    if given.data and not given.data.is_dir():
        parser.error(f"--data {given.data} is not a folder")
    given.cases = [name for name in CASES if not given.case or name.startswith(tuple(given.case))]
    return given


def module(name: str) -> ModuleType:
    return import_module(f"{PACKAGE}.{name}")


def run(name: str, small: bool, data: Path | None) -> dict:
    """One case as it goes into the document; its tables are made once, so that one that cannot be made fails it."""
    start = time.perf_counter()
    case = module(name)
    say(f"{name}: {case.TITLE}")
    result = case.measure(small=small, data=data, say=say)
    case.markdown(json.loads(json.dumps(result)))
    minutes = (time.perf_counter() - start) / 60
    return {"title": case.TITLE, "machine": machine(), "minutes": round(minutes, 2), "small": small, **result}


def page(cases: dict[str, dict]) -> str:
    """All results in the order of the cases, each with the machine it ran on."""
    parts = ["# Images: compression and denoising beside others\n"]
    for name in (name for name in CASES if name in cases):
        result = cases[name]
        where = result["machine"]
        parts.append(f"## {result['title']}\n\n{_or_error(lambda n=name: module(n).markdown(cases[n]))}\n")
        parts.append(
            f"{where['processor']}, {where['cores']} cores, {result['minutes']:g} minutes"
            f"{', tiny images' if result['small'] else ''}.\n"
        )
    return "\n".join(parts)


def title(name: str) -> str:
    return _or_error(lambda: module(name).TITLE)


def _or_error(text: Callable[[], str]) -> str:
    try:
        return text().strip()
    except Exception as error:  # a case that was renamed or changed does not hide the others
        return f"({type(error).__name__}: {error})"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
