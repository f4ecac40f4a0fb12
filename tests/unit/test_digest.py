"""What an edited file reruns: exactly the jobs that run what it holds, by imports and through the registries."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from svdflow.registry import DENOISERS, TASKS
from svdflow.study.study import Study

ROOT = Path(__file__).parents[2]
SHEET = """\
name\tkind\tsource\tcolour\tnoise_sigma\ttasks\tshard_size\tparameters
photos\timages\tphotos\tgray\t20\tcompress;denoise;encode;audit\t-\tmethods=shrink,truncate,patch_svd,wnnm,mppca,tv,wavelet,nl_means
waves\tsynthetic\twaves\t-\t-\tdenoise;audit\t-\tmethods=shrink,ssa
low\tsynthetic\tlow_rank_plus_noise\t-\t-\tcompress\t-\tmethod=krylov
file\tmatrix\tm.h5:/A\t-\t-\tcompress\t-\t-
"""
END = {"aggregate", "tables", "report", "verdict"}
COMPRESS = {"compress photos", "compress low", "compress file"}
DENOISE = {f"denoise photos {m}" for m in DENOISERS if m != "ssa"} | {
    "denoise waves shrink",
    "denoise waves ssa",
}
AUTO = {"factorize photos", "factorize waves", "factorize file"}  # method auto; low names krylov
CONDITIONING = {"conditioning photos", "conditioning waves"}
OF_SVD = DENOISE | {"encode photos", "selfcheck"}  # a denoiser or an archive may factorize what it likes

# File -> the jobs that it reruns, beside those that any of them makes due.
EDITED = {
    "denoisers/methods/shrink.py": {"denoise photos shrink", "denoise waves shrink"},
    "denoisers/methods/truncate.py": {"denoise photos truncate"},
    "denoisers/methods/patch_svd.py": {"denoise photos patch_svd"},
    "denoisers/methods/wnnm.py": {"denoise photos wnnm"},
    "denoisers/methods/mppca.py": {"denoise photos mppca"},
    "denoisers/methods/ssa.py": {"denoise waves ssa", "selfcheck"},  # an adjoint of it is audited
    "denoisers/methods/tv.py": {"denoise photos tv"},
    "denoisers/methods/wavelet.py": {"denoise photos wavelet"},
    "denoisers/methods/nl_means.py": {"denoise photos nl_means"},
    "ranks/cross_validation.py": {"denoise photos truncate"},  # a rule that the config names
    "svd/methods/full.py": OF_SVD | AUTO,
    "svd/methods/krylov.py": OF_SVD | AUTO | {"factorize low"},
    "svd/methods/lanczos.py": OF_SVD | AUTO,  # of a sparse matrix
    "matrix/generators/waves.py": {"ingest_synthetic waves", "selfcheck"},
    "matrix/generators/movie.py": {"selfcheck"},
    "codec/picture_codecs.py": {"encode photos"},
    "codec/tucker_form.py": {"encode photos"},
    "images/formats/png.py": {"ingest_images photos"},
    "tasks/compress.py": COMPRESS,
    "audit/conditioning.py": CONDITIONING | {"audit_own"},
    "selfcheck/hessian.py": {"selfcheck"},
    "compute/runtime.py": None,  # every job
    "tasks/compress_report.py": {"report", "verdict"},
    "tasks/denoise_report.py": {"report", "tables"},
    "report/document.css": {"report"},
    "study/study.py": set(),
    "command_line/picture_commands.py": set(),
}


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A folder with a copy of the library, and the codes of all jobs of a study there, asked anew each time."""
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "photos" / "a.png")
    with h5py.File(folder / "m.h5", "w") as file:
        file["A"] = np.eye(5)
    (folder / "sheet.tsv").write_text(SHEET)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, codes(folder)


def codes(folder):
    study = Study({"datasets": "sheet.tsv"}, folder, [])
    found = {stage: study.code(stage) for stage in ("selfcheck", "audit_own", *sorted(END))}
    for name, row in study.datasets.items():
        jobs = [("factorize", ""), (f"ingest_{row.kind}", "")]
        for task in study.tasks(name):
            jobs += [(task.name, method) for method in study.methods(task, name) or [""]]
        for stage, method in jobs:
            found[f"{stage} {name} {method}".strip()] = study.code(stage, name, "00000", method)
    return found


@pytest.mark.parametrize("name", EDITED)
def test_an_edited_file_reruns_its_jobs_and_no_other(studied, name):
    folder, before = studied
    path = folder / "scripts" / "svdflow" / name
    text = path.read_text()
    path.write_text(text + ("\n.edited { color: red }\n" if path.suffix == ".css" else "\nEDITED = 1\n"))
    try:
        after = codes(folder)
    finally:
        path.write_text(text)
    changed = {job for job in before if before[job] != after[job]}
    expected = EDITED[name]
    if expected is None:
        assert changed == before.keys()
    else:
        assert changed - END == expected - END
        if not expected - END:
            assert changed == expected, "what only shows results reruns nothing else"


def test_a_comment_reruns_nothing(studied):
    folder, before = studied
    path = folder / "scripts" / "svdflow" / "denoisers" / "methods" / "wnnm.py"
    text = path.read_text()
    path.write_text("# A comment.\n" + text)
    try:
        assert codes(folder) == before
    finally:
        path.write_text(text)


def test_every_task_of_svdflow_is_in_the_study(studied):
    assert {job.partition(" ")[0] for job in studied[1]} >= TASKS.keys()
