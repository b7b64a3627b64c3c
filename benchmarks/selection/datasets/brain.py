"""A set of slices of a brain: the average T1 image of 152 people that nilearn brings along.

ICBM 152 non-linear (2009), of the McConnell Brain Imaging Centre. nilearn is under BSD-3-Clause and
calls the template's licence unknown.
"""

import gzip
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.selection.datasets.composing import SIDE, camera
from benchmarks.selection.datasets.dataset import Labelled
from benchmarks.selection.datasets.packages import folder

VOLUME = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
BANDS = 5  # of equal thickness, in each of the three directions
# Where they begin and end, as shares of the volume. Of two mirrored halves, one; outside is little.
DEPTHS = np.array([(0.5, 0.84), (0.1, 0.9), (0.08, 0.88)])
SLICES = 2_400


def slices() -> Labelled:
    """Slices in three directions, five depths each: fifteen classes without a line between them."""
    rng = np.random.default_rng(0)
    directions = rng.integers(3, size=SLICES)
    places = rng.random(SLICES)
    depths = DEPTHS[directions, 0] + places * np.ptp(DEPTHS, axis=1)[directions]
    each = zip(directions, depths, strict=True)
    images = [_slice(int(direction), float(depth), rng) for direction, depth in each]
    return Labelled(images, BANDS * directions + (BANDS * places).astype(int))


@cache
def volume() -> NDArray[np.float32]:
    """The image [x, y, z], 0 to 255. The format: NIfTI-1."""
    data = gzip.decompress((folder("nilearn") / VOLUME).read_bytes())
    shape = np.frombuffer(data, "<i2", 3, offset=42)
    kind = {2: "u1", 4: "<i2", 16: "<f4"}[int(np.frombuffer(data, "<i2", 1, offset=70)[0])]
    start = int(np.frombuffer(data, "<f4", 1, offset=108)[0])
    voxels = np.frombuffer(data, kind, int(np.prod(shape)), offset=start)
    scaled = voxels.reshape(shape, order="F") * (255 / voxels.max())
    return np.ascontiguousarray(scaled, np.float32)


def _slice(direction: int, depth: float, rng: np.random.Generator) -> Image.Image:
    voxels = volume()
    plane = voxels.take(int(depth * voxels.shape[direction]), axis=direction)
    picture = Image.fromarray(np.flipud(plane.T)).resize((SIDE, SIDE))
    picture = picture.rotate(rng.uniform(-12, 12)).convert("L")
    left, top, right, bottom = (float(v) for v in rng.uniform(0, 20, size=4))
    box = (left, top, SIDE - right, SIDE - bottom)
    return camera(picture.resize((SIDE, SIDE), box=box), rng, (0.5, 1.3), 30)
