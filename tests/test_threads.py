"""Small work is done on one thread, and the number of threads is as before afterwards."""

from threading import Thread

import numpy as np
import pytest
import torch

from layerscope.som import SOM, estimator
from layerscope.threads import one_thread


def test_one_thread_in_the_block_and_as_many_as_before_after_it(threads):
    threads(2)
    with one_thread(where=True):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with pytest.raises(KeyError), one_thread(where=True):
        raise KeyError
    assert torch.get_num_threads() == 2
    with one_thread(where=False):
        assert torch.get_num_threads() == 2


def test_another_thread_than_the_main_one_changes_nothing(threads):
    threads(2)
    seen = []

    def work():
        torch.set_num_threads(2)
        with one_thread(where=True):
            seen.append(torch.get_num_threads())

    other = Thread(target=work)
    other.start()
    other.join()
    assert seen == [2]


@pytest.mark.parametrize(("rows", "expected"), [(400, 1), (2000, 2)])
def test_a_small_map_is_trained_on_one_thread_and_a_larger_one_on_all(threads, monkeypatch, rows, expected):
    threads(2)
    seen, real = [], estimator.train

    def watched(*told, **options):
        seen.append(torch.get_num_threads())
        return real(*told, **options)

    monkeypatch.setattr(estimator, "train", watched)
    monkeypatch.setattr(estimator, "SMALL", 400 * 6 * 3)  # multiplications of an epoch
    SOM((2, 3), solver="exact").fit(np.random.default_rng(0).standard_normal((rows, 3)))
    assert seen == [expected]
    assert torch.get_num_threads() == 2
