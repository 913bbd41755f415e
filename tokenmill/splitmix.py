"""splitmix64's mixing step (Steele, Lea and Flood, 2014): a bijection of 64-bit numbers that leaves no pattern in them."""

import numpy as np
from numpy.typing import NDArray

#: The step from one number of its sequence to the next.
GOLDEN = 0x9E3779B97F4A7C15


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The mixed numbers, in a new array; modulo 2^64 is what is meant, and NumPy does not warn of it in arrays."""
    mixed = numbers + np.uint64(GOLDEN)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
