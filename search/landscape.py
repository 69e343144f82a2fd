"""The archive as a map: each case a point, alike cases near each other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.intervals import Codes, Floats

SEED = 20261124
MOST = 3000  # points: more make a page heavy and a map black
FEWEST = 20  # cases below which neighbourhoods mean nothing


@dataclass(frozen=True, eq=False)
class Landscape:
    method: str
    rows: Codes  # which cases
    points: Floats  # (n, 2)


def landscape(vectors: npt.NDArray[np.float32], rows: Codes) -> Landscape:
    """The map of unit `vectors` (n, d), of a random part of them where there are many.

    UMAP (L. McInnes et al., 2018) if the extra `report` is installed; without it the first two principal components, and `method` says so.
    """
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, MOST, replace=False))
    shown = vectors[rows]
    if len(rows) < FEWEST:
        return Landscape(f"principal components: {len(rows)} cases are too few for UMAP", rows, components(shown))
    try:
        from umap import UMAP
    except ImportError:
        method = "principal components; UMAP is not installed (pip install umap-learn, or the extra `report`)"
        return Landscape(method, rows, components(shown))
    reducer = UMAP(metric="cosine", n_neighbors=min(15, len(rows) - 1), min_dist=0.2, random_state=SEED, n_jobs=1)
    return Landscape(
        "UMAP of the signatures (cosine, 15 neighbours)", rows, np.asarray(reducer.fit_transform(shown), np.float64)
    )


def components(vectors: npt.NDArray[np.float32]) -> Floats:
    """The first two principal components (n, 2)."""
    level = (vectors - vectors.mean(axis=0)).astype(np.float64)
    left, sizes, _ = np.linalg.svd(level, full_matrices=False)
    found = (left * sizes)[:, :2]
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
