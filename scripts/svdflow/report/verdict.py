"""The last ten lines of a run: what was done, what failed, where to look, and whether it may pass."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from svdflow.compute.runtime import ALONE, Runtime
from svdflow.escaping import visible
from svdflow.registry import TASKS
from svdflow.registry.audit_tables import AUDIT
from svdflow.registry.tables import Table
from svdflow.report.aggregate import read_tables
from svdflow.report.findings import count, failures, findings, kill_words, notes, sentences, verdict_words
from svdflow.report.table_rows import Tables, records
from svdflow.store.files import publish_text

NAMED_ERRORS = 3  # errors named at the end of a run, whose last lines are ten in all


def verdict(
    metrics: str | Path,
    *,
    allow_errors: int = 0,
    strict: bool = False,
    audited: bool = False,
    elapsed: float | None = None,
    look: Mapping[str, str | Path] | None = None,
    left_out: Sequence[str] = (),
    stream: TextIO | None = None,
) -> bool:
    """Print about ten lines and say whether the run passes.

    Parameters
    ----------
    metrics : path
        The metrics file.
    allow_errors : int
        Rows of the table errors that a run may have, those of the code `not_applicable` left out: they are no failures.
    strict : bool
        Whether an audit with the verdict FAIL or ERROR fails the run.
    audited : bool
        Whether audits were asked for; then an empty audit table fails the run, since nothing was checked.
    elapsed : float, optional
        Seconds that the run took.
    look : mapping of str to path, optional
        Where to look: words -> path, one line each.
    left_out : sequence of str
        Files that were not read, a line a dataset.
    stream : text stream, optional
        Default: standard output.

    Returns
    -------
    passes : bool
        False where errors exceed `allow_errors`, where `strict` and an audit fails, where a planted fault was not
        caught, or where `audited` and none was made.
    """
    tables = read_tables(metrics)
    faults = reasons_to_fail(tables, allow_errors=allow_errors, strict=strict, audited=audited)
    out = stream or sys.stdout
    for line in _lines(tables, faults, elapsed, look or {}, left_out):
        # Names come from users: a control character must not steer a terminal, nor a rare letter stop it.
        safe = visible(line)
        encoding = getattr(out, "encoding", None) or "utf-8"
        print(safe.encode(encoding, "replace").decode(encoding), file=out)
    return not faults


def write_verdict(
    metrics: str | Path,
    tables: str | Path,
    report: str | Path,
    out: str | Path,
    *,
    runtime: Runtime = ALONE,
    **options: Any,
) -> bool:
    """Stage: print the verdict, and publish it at `out` where the run passes; see `verdict` for the options."""
    text = io.StringIO()
    passes = verdict(
        metrics,
        elapsed=job_seconds(Path(out).parent / "benchmarks"),
        look={"report": report, "tables": tables, "metrics": metrics},
        stream=text,
        **options,
    )
    print(text.getvalue(), end="", flush=True)
    if passes:
        publish_text(out, text.getvalue())
    return passes


def job_seconds(folder: Path) -> float:
    """Seconds of computing, summed over the benchmark files of the jobs."""
    lines = (line for file in folder.rglob("*.jsonl") for line in file.read_text().splitlines())
    return sum(json.loads(line)["s"] for line in lines)


def reasons_to_fail(tables: Tables, *, allow_errors: int, strict: bool, audited: bool) -> list[str]:
    """Why a run fails, in words; empty where it passes."""
    found = findings(tables)
    faults = []
    if found.errors > allow_errors:
        faults.append(f"{count(found.errors, 'error')}, allow_errors is {allow_errors}")
    for name in ("FAIL", "ERROR"):
        if strict and found.verdicts[name]:
            faults.append(
                f"{count(found.verdicts[name], 'audit')} with verdict {name}, and audit.strict is on"
            )
    if found.survivors:
        faults.append(
            f"the audits missed {count(found.survivors, 'planted fault')}, so they cannot be trusted"
        )
    if audited and not found.audits:
        faults.append("audits were asked for and none was made")
    return faults


def _lines(
    tables: Tables,
    faults: list[str],
    elapsed: float | None,
    look: Mapping[str, str | Path],
    left_out: Sequence[str],
) -> list[str]:
    found = findings(tables)
    took = f" in {_duration(elapsed)}" if elapsed is not None else ""
    lines = [f"svdflow: {'FAILED: ' + '; '.join(faults) if faults else 'done'}{took}"]
    lines.append(f"  done    {sentences(tables, {})[0]}")
    measured = (f"{len(tables[table.name]):,} {table.name}" for table in task_tables())
    lines.append(f"  rows    {', '.join(measured)}")
    if found.audits:
        lines.append(
            f"  audits  {'; '.join(filter(None, [verdict_words(found.verdicts), kill_words(found)]))}"
        )
    lines += [f"  note    {note}" for note in [*left_out, *notes(tables)]]
    lines.append(f"  errors  {count(found.errors, 'error')}")
    for row in records(failures(tables["errors"]).head(NAMED_ERRORS)):
        lines.append("    {dataset}/{name} ({stage}): {code}: {message}".format(**row))
    if found.errors > NAMED_ERRORS:
        lines.append(f"    and {found.errors - NAMED_ERRORS:,} more, all named in the report")
    return lines + [f"  {words:<7} {path}" for words, path in look.items()]


def task_tables() -> list[Table]:
    """The tables of the tasks that hold measurements, with that of the audits, once each."""
    found = {table.name: table for task in TASKS.values() for table in task.tables if table.caption}
    return [*(table for table in found.values() if table != AUDIT), AUDIT]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
