"""The rerun promise: a changed line reruns exactly what it touches."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from small_study import OWN, SHEET, small_workflow
from svdflow.registry import Options
from svdflow.store import read_table
from svdflow.study.sections import config_model

pytestmark = pytest.mark.budget(400)  # Snakemake plans the study once a key, and runs it

END = {"aggregate", "tables", "report", "verdict"}
STAGES = {"compress", "denoise", "conditioning"}  # what reads factors
FACTORIZED = {"factorize"} | STAGES | END
INGEST = {"ingest_images", "ingest_synthetic", "ingest_matrix"}
AUDITS = {"selfcheck", "audit_own"}
EVERYTHING = INGEST | FACTORIZED | {"encode"} | AUDITS

# Jobs of one shard of photos, and of groups, which lists the same folder.
ONE_SHARD = {
    "ingest_images": 2,
    "factorize": 2,
    "compress": 1,
    "denoise": 4,
    "encode": 1,
    "conditioning": 1,
}

# Configuration key -> a changed value, and exactly the rules that it reruns.
TABLE = {
    "title": ("Another", {"report", "verdict"}),
    "seed": (43, EVERYTHING - {"ingest_matrix"}),
    "datasets": ("other.tsv", set()),  # another sheet that says the same
    "pathvars.results": ("elsewhere", EVERYTHING),
    "ingest.pixel_limit": (10**6, {"ingest_images", "encode"} | FACTORIZED),
    "ingest.allow_links": (True, {"ingest_matrix", "factorize", "compress", "conditioning"} | END),
    "factorize.method": ("full", FACTORIZED),
    "factorize.tol": (1e-3, FACTORIZED),
    "factorize.precision": ("mixed", FACTORIZED),
    "factorize.max_rank": (15, FACTORIZED),
    "factorize.center": (True, FACTORIZED),
    "compress.ranks": ([1, 3, 5, 6, 10], {"compress"} | END),  # within the stored ones: factorizes nothing
    "compress.powers_of_two": (True, FACTORIZED),  # asks for the full rank
    "compress.energies": ([0.5], {"compress"} | END),
    "compress.rank_rules": (["screenot"], {"compress"} | END),
    "compress.metrics": (["psnr"], {"compress"} | END),
    "compress.images": ("none", {"compress"} | END),
    "denoise.ranks": ([1, 3, 5], {"denoise"} | END),
    "denoise.methods": (["truncate"], END),
    "denoise.rank_rules": (["elbow"], {"denoise"} | END),
    "denoise.loss": ("nuclear", {"denoise"} | END),
    "denoise.options": ({"patch_svd": {"passes": 1}}, {"denoise"} | END),
    "encode.target": ("psnr=30", {"encode"} | END),
    "encode.forms": (["svd"], {"encode"} | END),
    "encode.codecs": (["png"], {"encode"} | END),
    "audit.strict": (True, {"verdict"}),
    "audit.full_up_to": (16, {"conditioning"} | END),
    "audit.sample": (1, {"conditioning"} | END),
    "audit.thresholds": ({"svd_residual": {"warn": 9.0}}, {"conditioning"} | AUDITS | END),
    "audit.mutants": (False, {"selfcheck"} | END),
    "audit.functions_file": ("other.py", {"audit_own"} | END),
    "audit.functions": (["squares"], {"audit_own"} | END),
    "audit.baseline": ("metrics.h5", {"tables", "report", "verdict"}),
    "allow_errors": (3, {"verdict"}),
    "runtime.backend": ("numpy", set()),
    "runtime.memory_limit": ("3GiB", set()),
    "runtime.engine": ("dask", set()),
    "runtime.cluster": ("tcp://127.0.0.1:8786", set()),
    "runtime.workers": (2, set()),
    "runtime.tls_ca": ("ca.pem", set()),
    "runtime.tls_cert": ("cert.pem", set()),
    "runtime.tls_key": ("key.pem", set()),
    "runtime.allow_plain": (True, set()),
}
BESIDE = {"runtime.cluster": {"engine": "dask"}}  # what else a key needs


def leaves(model, prefix=""):
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            yield from leaves(field.annotation, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_the_table_names_every_key():
    assert set(TABLE) == set(leaves(config_model()))


@pytest.mark.parametrize("key", [k for k, (value, _) in TABLE.items() if value is not None])
def test_a_changed_key_reruns_exactly_its_rules(finished, tmp_path, key):
    value, rules = TABLE[key]
    workflow = finished.copy(tmp_path / "study")
    (workflow.folder / "other.tsv").write_text(SHEET)
    (workflow.folder / "other.py").write_text(OWN)
    shutil.copy2(workflow.folder / "results" / "metrics.h5", workflow.folder)
    top, _, rest = key.partition(".")
    workflow.configure(**{top: {rest: value, **BESIDE.get(key, {})} if rest else value})
    assert set(workflow.due()) == rules


def test_a_second_run_does_nothing(finished):
    assert finished.due() == {}


def test_touch_checkout_and_comments_rerun_nothing(fresh):
    for path in fresh.folder.rglob("*"):
        if path.is_file() and not path.is_relative_to(fresh.folder / "results") and path.name != "matrix.h5":
            os.utime(path)
    module = fresh.folder / "scripts" / "svdflow" / "tasks" / "compress.py"
    module.write_text("# A comment.\n" + module.read_text())
    config = fresh.folder / "study.yaml"
    config.write_text("# A comment.\n" + config.read_text())
    assert fresh.due() == {}


def test_a_replaced_image_reruns_its_shard(fresh):
    image = fresh.folder / "photos" / "photo4.png"
    Image.fromarray(np.asarray(Image.open(image)).T.copy()).save(image)
    assert fresh.due() == ONE_SHARD | dict.fromkeys(END, 1)


def test_a_new_image_adds_a_shard_and_touches_no_other(fresh):
    shutil.copy(fresh.folder / "photos" / "photo0.png", fresh.folder / "photos" / "a-first-one.png")
    assert fresh.due() == ONE_SHARD | dict.fromkeys(END, 1)


def test_what_a_kill_left_is_no_result(fresh):
    """A checkpoint is neither rerun nor checked; the same bytes as a result are."""
    factors = fresh.folder / "results" / "factors" / "file"
    left = factors / ".00000.h5.checkpoint" / "1-2" / "items" / "000000" / "0" / "matrix" / "read_00001.h5"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a file")
    assert fresh.due() == {}
    check = ["check", "--config", "study.yaml"]
    assert fresh.command(*check, module="svdflow").returncode == 0
    shutil.copy(left, factors / "00001.h5")
    found = fresh.command(*check, module="svdflow")
    assert found.returncode == 1 and "00001.h5" in found.stderr


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        ("tasks/compress.py", {"compress"} | END),
        ("selfcheck/hessian.py", {"selfcheck"} | END),
        ("audit/difference.py", AUDITS | END),
        ("denoisers/patches.py", {"denoise", "selfcheck"} | END),
        ("codec/__init__.py", {"encode"} | END),
        ("svd/methods/krylov.py", FACTORIZED | {"encode", "selfcheck"}),
        (
            "matrix/generators/formulas.py",  # audits draw their matrices from the package's random numbers
            {"ingest_synthetic", "selfcheck"} | FACTORIZED,
        ),
        ("report/document.py", {"report", "verdict"}),
        ("report/document.css", {"report", "verdict"}),
        ("study/study.py", set()),
    ],
)
def test_an_edited_algorithm_reruns_the_stages_that_reach_it(fresh, module, rules):
    path = fresh.folder / "scripts" / "svdflow" / module
    path.write_text(
        path.read_text() + ("\n.edited { color: red }\n" if path.suffix == ".css" else "\nEDITED = 1\n")
    )
    assert set(fresh.due()) == rules


def test_two_runs_give_the_same_bytes(finished, tmp_path):
    again = finished.copy(tmp_path / "again")
    shutil.rmtree(again.folder / "results")
    shutil.rmtree(again.folder / ".snakemake")
    done = again.run("--cores", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = [
        p
        for p in (finished.folder / "results").rglob("*")
        if p.suffix in (".h5", ".html", ".csv", ".png", ".md")
    ]
    assert len(kept) > 20
    different = [
        str(p.relative_to(finished.folder))
        for p in kept
        if p.read_bytes() != (again.folder / p.relative_to(finished.folder)).read_bytes()
    ]
    assert different == []


def test_more_than_500_files_are_gathered_in_two_levels(tmp_path):
    workflow = small_workflow(tmp_path / "many")
    row = "many\tsynthetic\thilbert\t-\t-\tcompress\t1\treplicates=170;rows=4;columns=4\n"
    (workflow.folder / "sheet.tsv").write_text(SHEET.splitlines(keepends=True)[0] + row)
    workflow.configure(audit={"functions_file": "", "functions": []})
    stages = dict.fromkeys(("ingest_synthetic", "factorize", "compress"), 170)
    assert workflow.due() == stages | {"gather": 2} | dict.fromkeys(END, 1)


def test_an_image_reruns_the_judging_of_its_dataset_where_it_raises_the_range_of_values(tmp_path):
    """Three 16-bit images in two shards: what is judged against a range carries it, and nothing else does."""
    workflow = small_workflow(tmp_path / "study")
    place = workflow.folder / "deep"
    place.mkdir()
    random = np.random.default_rng(3)

    def picture(name, top):
        values = random.integers(0, top, (24, 20), dtype=np.uint16)
        values.flat[0] = top
        Image.fromarray(values).save(place / name)

    def sheet(parameters):
        row = f"deep\timages\tdeep\tgray\t-\tcompress\t2\t{parameters}\n"
        (workflow.folder / "sheet.tsv").write_text(SHEET.splitlines(keepends=True)[0] + row)

    def ranges():
        table = read_table(workflow.folder / "results" / "metrics.h5", "compress")
        return set(zip(table["data_range"], table["data_range_source"], strict=True))

    for name in ("a.png", "b.png", "c.png"):
        picture(name, 200)
    sheet("-")
    workflow.configure(audit={"functions_file": "", "functions": []})
    done = workflow.run("--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ranges() == {(255.0, "8 bits, the fewest that hold all values")}
    assert workflow.due() == {}
    sheet("data_range=1000")
    assert workflow.due() == {"compress": 2} | dict.fromkeys(END, 1)
    sheet("fill=median")
    assert workflow.due() == {"ingest_images": 2, "factorize": 2, "compress": 2} | dict.fromkeys(END, 1)
    sheet("-")
    last = {"ingest_images": 1, "factorize": 1} | dict.fromkeys(END, 1)
    picture("d.png", 250)  # within the range
    assert workflow.due() == last | {"compress": 1}
    picture("d.png", 300)  # beyond it: both shards are judged again, one is read and factorized
    assert workflow.due() == last | {"compress": 2}
    done = workflow.run("--cores", "2", "results/metrics.h5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ranges() == {(1023.0, "10 bits, the fewest that hold all values")}
