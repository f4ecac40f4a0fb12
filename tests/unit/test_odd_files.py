"""Two hundred bad or odd files: each is read rightly or refused by its code, and harms no neighbour."""

from itertools import chain

import numpy as np
import pytest

from odd_files import pngs, streams
from svdflow.images.io import read_image
from svdflow.store import ItemError

ODD = list(chain(pngs.cases(), streams.cases()))


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


def test_names_differ():
    assert len({odd.name + odd.inside for odd in ODD}) == len(ODD)
