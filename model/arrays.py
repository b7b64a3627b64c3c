"""Array types, by the kind of number that a numpy array holds."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.integer[Any]]
Int64s: TypeAlias = NDArray[np.int64]
Indices: TypeAlias = NDArray[np.intp]  # of rows or columns
Floats: TypeAlias = NDArray[np.floating[Any]]  # of any precision
Float16s: TypeAlias = NDArray[np.float16]  # embeddings as they are stored
Float32s: TypeAlias = NDArray[np.float32]
Float64s: TypeAlias = NDArray[np.float64]
