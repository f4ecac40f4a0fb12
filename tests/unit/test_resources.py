"""What jobs ask a scheduler for: by their own files, more at every attempt, and the same inside of the job."""

import numpy as np
import pytest
from PIL import Image

from svdflow.study.config import load_config
from svdflow.study.resources import ALLOCATED, LEAST_MINUTES, MARGIN, MOST, OWN
from svdflow.study.study import Study

HEAD = "name\tkind\tsource\tcolour\ttasks\tshard_size\tparameters\n"
GB = 2**30


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Makes a study of small pictures, large ones, and generated matrices."""
    monkeypatch.chdir(tmp_path)
    for name, side, count in (("small", 32, 5), ("large", 3000, 3)):
        (tmp_path / name).mkdir()
        for i in range(count):
            Image.fromarray(np.full((side, side), i, np.uint8)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "sheet.tsv").write_text(
        HEAD
        + "small\timages\tsmall\tgray\tcompress\t3\t-\n"
        + "large\timages\tlarge\tgray\tcompress;denoise\t3\t-\n"
        + "waves\tsynthetic\thilbert\t-\tcompress\t-\trows=4000;columns=3000\n"
    )

    def made(*, in_job=False, **runtime):
        (tmp_path / "study.yaml").write_text(f"datasets: sheet.tsv\nruntime: {runtime}\n")
        return Study(load_config(["study.yaml"]), tmp_path, ["study.yaml"], in_job=in_job)

    return made


def test_memory_follows_the_pictures_and_the_threads(study):
    found = study()
    small = [found.resources.memory_mb("small", "00000", threads, 1, allocated=1) for threads in (1, 8)]
    assert OWN < small[0] <= small[1] <= OWN + 1
    large = [found.resources.memory_mb("large", "00000", threads, 1, allocated=1) for threads in (1, 8)]
    plane = 9_000_000 * 8 // 2**20  # in double
    assert large[0] > OWN + 4 * plane  # LAPACK holds the plane and three copies
    assert large[1] > large[0]


def test_the_allocation_is_the_least_and_every_attempt_asks_for_more(study):
    found = study()
    place = ("small", "00000", 1)
    assert [found.resources.memory_mb(*place, attempt, allocated=3000) for attempt in (1, 2, 3)] == [
        3000,
        6000,
        9000,
    ]
    assert (
        found.resources.memory_mb(*place, 1, allocated=None)
        == found.resources.memory_mb("", "", 1, 1)
        == ALLOCATED
    )
    assert [found.resources.minutes(*place, attempt) for attempt in (1, 2)] == [
        LEAST_MINUTES,
        2 * LEAST_MINUTES,
    ]


def test_a_limit_of_the_study_is_what_a_job_gets(study):
    found = study(memory_limit="1GiB")
    assert [found.resources.memory_mb("large", "00000", 8, attempt, allocated=9) for attempt in (1, 2)] == [
        1024,
        2048,
    ]
    assert (
        found.resources.memory_mb("large", "00000", 8, 3, share=0.5) == 1024
    )  # this machine has no more at a later attempt


def test_a_share_of_this_machine_is_no_request(study, monkeypatch):
    monkeypatch.setattr("svdflow.study.resources.machine_memory", lambda: 8 * GB)
    found = study()
    assert [found.resources.memory_mb("large", "00000", 1, attempt, share=0.25) for attempt in (1, 2)] == [
        2048,
        2048,
    ]


def test_threads_and_minutes_follow_the_work(study, monkeypatch):
    found = study()
    assert found.resources.threads("small", "00000") == 1
    assert 1 < found.resources.threads("large", "00000") <= MOST
    few, many = found.resources.seconds("small", "00001"), found.resources.seconds("small", "00000")
    assert many == pytest.approx(few * 3 / 2)  # two items and three
    monkeypatch.setattr(found.resources, "seconds", lambda *_: 36_000.0)
    minutes = [found.resources.minutes("large", "00000", threads, 1) for threads in (1, 8)]
    assert minutes == [MARGIN * 600, MARGIN * 75]


def test_a_job_asks_for_what_its_plan_asked_for(study):
    """The job knows its memory by asking again, from its lines of the manifest."""
    planned = study()
    planned.write_manifests()
    inside = study(in_job=True)
    for name in ("small", "large", "waves"):
        for threads in (1, 4):
            asked = (name, "00000", threads, 2)
            assert inside.resources.memory_mb(*asked, allocated=1) == planned.resources.memory_mb(
                *asked, allocated=1
            )
        assert inside.resources.threads(name, "00000") == planned.resources.threads(name, "00000")


def test_broken_pictures_are_taken_for_a_megapixel(study, tmp_path):
    for file in (tmp_path / "small").iterdir():
        file.write_bytes(b"no picture")
    assert study().resources.work("small", "00000").values == 1e6
