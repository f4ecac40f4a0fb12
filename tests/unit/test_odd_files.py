"""Two hundred bad or odd files: each is read rightly or refused by its code, and harms no neighbour."""

import json
import subprocess
import sys
from itertools import chain

import numpy as np
import pytest

from odd_files import arrays, pngs, streams, tiffs
from svdflow.errors import ItemError
from svdflow.images.io import read_image
from svdflow.store import open_published, read_array, read_table

ODD = list(chain(arrays.cases(), pngs.cases(), streams.cases(), tiffs.cases()))
BAD = [odd for odd in ODD if odd.code]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name + odd.inside)
def test_it_is_read_rightly_or_refused_by_its_code(tmp_path, odd):
    path = odd.write(tmp_path)
    if odd.code:
        with pytest.raises(ItemError) as caught:
            read_image(path, **odd.options)
        assert caught.value.code in odd.code.split("|"), caught.value
        assert str(caught.value).startswith(odd.name)
        assert odd.words in str(caught.value)
        return
    pages = read_image(path, **odd.options).pages
    assert len(pages) == len(odd.pages)
    for page, wanted in zip(pages, odd.pages, strict=True):
        assert page.array.shape == wanted.shape
        if odd.within:
            assert np.abs(page.array.astype(float) - wanted).max() <= odd.within
        else:
            assert np.array_equal(page.array, wanted)
    for found, wanted in ((pages[0].alpha, odd.alpha), (pages[0].mask, odd.mask)):
        assert (found is None) == (wanted is None)
        assert found is None or np.array_equal(found, wanted)


def test_there_are_many_and_their_names_differ():
    assert len({odd.name + odd.inside for odd in ODD}) == len(ODD)
    assert len(ODD) >= 400
    assert len(BAD) >= 200


@pytest.mark.parametrize(
    "odd", [odd for odd in BAD if odd.name.startswith("secret")], ids=lambda odd: odd.name
)
def test_no_message_tells_what_stands_in_a_file_that_is_no_image(tmp_path, odd):
    with pytest.raises(ItemError) as caught:
        read_image(odd.write(tmp_path))
    message = str(caught.value).lower()
    words = [word for word in arrays.SECRET.decode().lower().split() if len(word) > 4]
    assert [word for word in words if word in message] == []
    assert arrays.SECRET[:4].hex() not in message


SHARD = """
import json, resource, sys, time
from svdflow.images.ingest_images import ingest_images
files, out = json.loads(sys.argv[1]), sys.argv[2]
start = time.process_time()
ingest_images(files, out, dataset="d", shard=0, colour="gray", noise_sigma=[2.0], seed=7)
print(json.dumps([time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def ingested(files, out):
    """Run a shard as its job does, in a process of its own; returns seconds of computing and megabytes."""
    run = subprocess.run(
        [sys.executable, "-c", SHARD, json.dumps(files), str(out)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


def stored_bits(path):
    """Name of each array of each item -> its type, shape and bytes."""
    with open_published(path, "matrices") as file:
        arrays = file["items"].arrays()
        return {a.name: (a.dtype, a.shape, read_array(a).tobytes()) for a in arrays}


def test_all_together_they_are_rows_and_change_no_bit_of_the_good(tmp_path):
    """Peak memory and time of a shard of bad files stay those of its good ones, within a bound."""
    good = tmp_path / "good.png"
    good.write_bytes(next(odd.data for odd in ODD if odd.name == "rgb8.png"))
    files, expected = [], {}
    for place, odd in enumerate(BAD):
        folder = tmp_path / str(place)
        folder.mkdir()
        if place % 3 == 0:
            files.append({"index": len(files), "path": str(good), "name": f"good-{place}.png"})
        expected[len(files)] = odd
        files.append({"index": len(files), "path": str(odd.write(folder)), "name": odd.name})
    kept = [file for file in files if file["index"] not in expected]
    seconds, megabytes = ingested(files, tmp_path / "all.h5")
    _, alone = ingested(kept, tmp_path / "alone.h5")
    assert stored_bits(tmp_path / "all.h5") == stored_bits(tmp_path / "alone.h5")
    assert len(stored_bits(tmp_path / "alone.h5")) >= len(kept) > 60
    rows = read_table(tmp_path / "all.h5", "errors")
    assert list(rows["item"]) == list(expected)
    pairs = zip(expected.values(), rows["code"], strict=True)
    assert [(odd.name, code) for odd, code in pairs if code not in odd.code.split("|")] == []
    assert megabytes < alone + 400
    assert seconds < 60
