"""The processor in a GPU's place: the kernels as they stand, where there is no GPU.

Comes in: nothing. Goes out: a `Device` for the engine `cuda`, the one of the tests. Always holds: its ids are what a GPU's
would be but for races; its speed says nothing.
"""

import sys
from pathlib import Path

from tokenmill.engines.cuda.device import Device


def on_processor() -> Device:
    """A new one; compiles the kernels with g++ if that was not done before."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.cuda.host import HostDevice

    return HostDevice(lazy=False)
