"""Bits flip, files are cut short or lost: what is read is what was written, or nothing; a resumed run makes it anew."""

import random

import pytest

from injection import changed, contents, svdflow, users_files
from small_study import SMALLEST as SETTINGS
from svdflow.codec import decode
from svdflow.errors import StoreError
from svdflow.store import StoredArray, open_published, read_array

STAGES = ("matrices", "factors", "compress", "denoise", "encode", "audit", "metrics.h5", "archives")
FLIPS = 8  # a kind of file
LENGTHS = (0.0, 0.3, 0.7, 0.99)  # of what is left of a file that is cut short
LOST = (
    "report.html", "summary.txt", "metrics.h5", "tables", "report", "pictures/photos/compress/00001",
    "factors/waves/00000.h5", "archives/photos/00000", "selfcheck.h5", "matrices/file/00000.h5",
)  # fmt: skip


def one_of(results, stage):
    """A result file of a stage."""
    place = results / stage
    return place if place.is_file() else sorted(place.rglob("*.h5"))[0]


def content(path):
    """Everything that is read of a file: names, attributes, arrays; of an archive what it decodes to."""
    if "archives" in path.parts:
        return decode(path).tobytes()
    found = []

    def visit(group):
        found.append((group.name, sorted((k, repr(v)) for k, v in group.attrs.items())))
        for node in group.values():
            if isinstance(node, StoredArray):
                attrs = sorted((k, repr(v)) for k, v in node.attrs.items())
                found.append((node.name, attrs, node.shape, str(node.dtype), read_array(node).tobytes()))
            else:
                visit(node)

    with open_published(path) as file:
        visit(file)
    return found


def read_wrongly(path, expected):
    """Why a damaged file is a lie; empty where it is refused, or reads as it was."""
    try:
        return "" if content(path) == expected else f"{path.name} reads otherwise"
    except StoreError as error:
        return "" if str(path) in str(error) else f"the message does not name the file: {error}"


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("flip", range(FLIPS))
def test_a_bit_flips(reference, tmp_path, score, stage, flip):
    source = one_of(reference.workflow.folder / "results", stage)
    draw = random.Random(f"{stage}{flip}")
    damaged = bytearray(source.read_bytes())
    damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    path = tmp_path / stage.removesuffix(".h5") / source.name
    path.parent.mkdir()
    path.write_bytes(damaged)
    score.judge("a bit flips in a result file", wrong=read_wrongly(path, content(source)))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("part", LENGTHS)
def test_a_file_is_cut_short(reference, tmp_path, score, stage, part):
    source = one_of(reference.workflow.folder / "results", stage)
    whole = source.read_bytes()
    path = tmp_path / stage.removesuffix(".h5") / source.name
    path.parent.mkdir()
    path.write_bytes(whole[: int(len(whole) * part)])
    score.judge("a result file is cut short", wrong=read_wrongly(path, content(source)))


def test_flips_and_cuts_in_many_files_are_healed_by_resume(reference, finished, score):
    results, before = finished.folder / "results", users_files(finished)
    stages = STAGES
    for number, stage in enumerate(stages):
        path = one_of(results, stage)
        whole = path.read_bytes()
        if number % 3 == 2:
            path.write_bytes(whole[: len(whole) // 2])
        else:
            damaged = bytearray(whole)
            damaged[len(damaged) * (number + 1) // (len(stages) + 2)] ^= 16
            path.write_bytes(damaged)
    done = svdflow(finished, "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge(
        "damaged results, then resume",
        faults=len(stages),
        touched=changed(before, users_files(finished)),
        different=changed(reference.contents, contents(finished)),
    )
    assert svdflow(finished, "check").returncode == 0


@pytest.mark.parametrize("lost", [LOST[:5], LOST[5:]])
def test_results_that_are_lost_are_made_anew_by_run(reference, finished, score, lost):
    results, before = finished.folder / "results", users_files(finished)
    for name in lost:
        path = results / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            file.unlink()
        if path.is_dir():
            path.rmdir()
    assert svdflow(finished, "check").returncode != 0
    done = svdflow(finished, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge(
        "lost results, then run",
        faults=len(lost),
        touched=changed(before, users_files(finished)),
        different=changed(reference.contents, contents(finished)),
    )


def test_one_picture_is_lost(reference, finished, score):
    (
        finished.folder / "results" / "pictures" / "photos" / "compress" / "00000" / "000000_photo0.png"
    ).unlink()
    done = svdflow(finished, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lacks 000000_photo0.png; the folder is made anew" in done.stderr
    score.judge("lost results, then run", different=changed(reference.contents, contents(finished)))


@pytest.mark.parametrize("junk", ["", '{"incomplete', "\0\0\0\0", "[]"])
def test_records_of_snakemake_are_damaged(reference, finished, score, junk):
    """A record that cannot be read says nothing of parameters; a change of them must not go unseen."""
    records = sorted((finished.folder / ".snakemake" / "metadata").rglob("*"))
    for record in records[:: max(1, len(records) // 6)]:
        if record.is_file():
            record.write_text(junk)
    finished.configure(**{**SETTINGS, "compress": {"ranks": [1, 2]}})
    done = svdflow(finished, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Snakemake's record of it" in done.stderr
    finished.configure(**SETTINGS)
    done = svdflow(finished, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge("Snakemake's records are damaged", different=changed(reference.contents, contents(finished)))


def test_records_of_snakemake_are_lost(reference, finished, score):
    for path in sorted((finished.folder / ".snakemake").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    done = svdflow(finished, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    score.judge("Snakemake's records are lost", different=changed(reference.contents, contents(finished)))


def test_a_manifest_is_cut_short(reference, finished, score):
    manifest = finished.folder / "results" / "manifests" / "photos.tsv"
    manifest.write_text(manifest.read_text()[:-40])
    done = svdflow(finished, "run")
    again = svdflow(finished, "resume") if done.returncode else done
    refused = again.returncode and "photos.tsv" in again.stdout + again.stderr
    score.judge(
        "a manifest is cut short",
        different=() if refused else changed(reference.contents, contents(finished)),
    )
