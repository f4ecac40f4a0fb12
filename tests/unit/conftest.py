"""Fixtures shared by unit tests: a matrices file and the factors file beside it, by LAPACK."""

from pathlib import Path

import numpy as np
import pytest

from svdflow.images.colour import to_planes
from svdflow.store import publish, write_array, write_table
from svdflow.store.shards import add_item, add_observation


class FactoredShard:
    """Items are added one by one; `write` publishes both files. `stored` caps the rank of the factors."""

    def __init__(self, folder: Path, stored: int | None = None, center: bool = False) -> None:
        self.matrices, self.factors = folder / "matrices.h5", folder / "factors.h5"
        self.out, self.pictures = folder / "out.h5", folder / "pictures"
        self._stored = stored
        self._center = center
        self._items: list[dict] = []

    def image(self, array, *, name="photo.png", colour="gray", sigmas=(), alpha=None, mask=None, seed=1):
        planes = to_planes(array, colour)
        rng = np.random.default_rng(seed)
        levels = [(0.0, planes)]
        for sigma in sigmas:
            noisy = {k: (p + rng.normal(0, sigma, p.shape)).astype(np.float32) for k, p in planes.items()}
            levels.append((sigma, noisy))
        if mask is not None:  # what is missing is stored as 0
            levels = [
                (sigma, {k: np.where(mask, p, p.dtype.type(0)) for k, p in level.items()})
                for sigma, level in levels
            ]
        integer = array.dtype.kind == "u"
        attrs = {
            "dtype": str(array.dtype),
            "bits": 8 * array.dtype.itemsize,
            "colour": colour if array.ndim == 3 else "gray",
            "data_min": float(array.min()),
            "data_max": float(array.max()),
            "data_range": float(np.iinfo(array.dtype).max if integer else np.ptp(array)),
            "has_alpha": alpha is not None,
            "pages": 1,
            "masked": 0 if mask is None else int(np.count_nonzero(~mask)),
        }
        entry = {"name": name, "kind": "image", "attrs": attrs, "levels": levels, "alpha": alpha, "clean": {}}
        self._items.append(entry | {"mask": mask})
        return self

    def matrix(self, array, *, name="matrix", sigma=0.0, clean=None, link=False, grid=None):
        attrs = {"dtype": str(array.dtype), "colour": "-", "data_range": float(np.ptp(np.real(array)))}
        attrs |= {"grid": grid} if grid else {}
        self._items.append(
            {
                "name": name,
                "kind": "matrix",
                "attrs": attrs,
                "levels": [(sigma, {"matrix": array})],
                "alpha": None,
                "clean": {} if clean is None else {"matrix": clean},
                "link": link,
            }
        )
        return self

    def write(self):
        with publish(self.matrices, "matrices") as file, publish(self.factors, "factors") as store:
            for index, entry in enumerate(self._items):
                group = add_item(file, index, entry["name"], entry["kind"], entry["attrs"])
                if entry["alpha"] is not None:
                    write_array(group, "alpha", entry["alpha"])
                if entry.get("mask") is not None:
                    write_array(group, "mask", entry["mask"].astype(np.uint8))
                for plane, array in entry["clean"].items():
                    write_array(group.require_group("clean"), plane, array)
                for level, (sigma, planes) in enumerate(entry["levels"]):
                    observation = add_observation(group, level, sigma)
                    for plane, array in planes.items():
                        if entry.get("link"):
                            observation.attrs["link_path"] = "elsewhere.h5"
                        else:
                            write_array(observation, plane, array)
                        self._factorize(store.create_group(f"items/{index:06d}/{level}/{plane}"), array)
            write_table(file, "errors", [])
            write_table(store, "errors", [])
        return self

    def _factorize(self, group, array):
        wide = array.astype(np.result_type(array, np.float64))
        if self._center:
            write_array(group, "mean", wide.mean(axis=0))
            wide = wide - wide.mean(axis=0)
        U, s, Vt = np.linalg.svd(wide, full_matrices=False)
        k = min(len(s), self._stored or len(s))
        write_array(group, "U", U[:, :k])
        write_array(group, "s", s[:k])
        write_array(group, "Vt", Vt[:k])
        m, n = array.shape
        group.attrs.update(
            {
                "m": m,
                "n": n,
                "rank": k,
                "dtype": str(array.dtype),
                "frobenius_norm": float(np.linalg.norm(wide)),
                "frobenius_error": float(np.linalg.norm(s[k:])),
                "frobenius_kind": "exact",
            }
        )


@pytest.fixture
def factored_shard(tmp_path):
    """Makes a `FactoredShard` in the folder of the test."""
    return lambda **more: FactoredShard(tmp_path, **more)
