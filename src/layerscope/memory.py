"""What the C library holds of memory that was freed."""

import ctypes
import sys


def give_back() -> None:
    """Give freed memory back to the system, where the C library (glibc) keeps it; elsewhere nothing happens.

    Tensors of many sizes leave it in pieces that no later tensor fits into, so that a long computation comes to hold a
    good deal more than it ever needs at once.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
