"""How many threads small work is done on."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

import torch


@contextmanager
def one_thread(*, where: bool) -> Iterator[None]:
    """PyTorch works on one thread in this block, where that is said; afterwards on as many as before.

    On the main thread alone: PyTorch's number is for the whole process, and a thread of Python's that begins with
    PyTorch inside somebody's block stays with one for its life.

    To wake a second thread takes longer than the smallest operations do, and to wait for one that other work keeps from
    its core far longer.
    """
    before = torch.get_num_threads()
    if not where or before == 1 or current_thread() is not main_thread():
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
