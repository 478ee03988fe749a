"""A run's network and data: loaded again, or given and checked."""

import numpy as np
import pytest
import torch
from conftest import tiny_data, tiny_module

from layerscope import Network, Study, load_data
from layerscope.decoding.subject import subject
from layerscope.errors import RunMismatchError


def named():
    return Network(tiny_module(), class_names=("top", "middle", "bottom"))


def test_a_run_from_objects_takes_them_again_whole_or_in_part(tiny_run):
    network, data = subject(tiny_run, named(), tiny_data())
    assert network.fingerprint() == tiny_run.settings["fingerprints"]["network"]
    assert list(data.rows) == tiny_run.recordings["clean"].ids.tolist()
    again = subject(tiny_run, network, data)[1]
    assert again.fingerprint == data.fingerprint == tiny_run.settings["fingerprints"]["data"]


def test_a_run_from_objects_asks_for_them(tiny_run):
    with pytest.raises(
        ValueError, match=r"from an object \(TinyNet\), not from a spec; load the network yourself, and"
    ):
        subject(tiny_run)
    with pytest.raises(ValueError, match=r"from an object \(a pair of arrays\), not from a spec; load the data yours"):
        subject(tiny_run, named())


def test_another_network_or_other_data_are_refused(tiny_run):
    module = tiny_module()
    with torch.no_grad():
        module.head.bias[0] += 1
    with pytest.raises(RunMismatchError, match=r"`network` must be what the run in '.*tiny' was made of, and is anoth"):
        subject(tiny_run, module, tiny_data())
    with pytest.raises(RunMismatchError, match=r"`data` must be what the run in .*: samples, labels, their order"):
        subject(tiny_run, named(), tiny_data(seed=5))


@pytest.mark.parametrize("fitted", [False, True])
def test_a_run_from_specs_loads_both_by_itself(tmp_path, monkeypatch, fitted):
    monkeypatch.chdir(tmp_path)
    images, labels = tiny_data()
    np.savez("all.npz", inputs=images.numpy(), labels=labels.numpy())
    (tmp_path / "subject_nets.py").write_text("import conftest\n\n\ndef make():\n    return conftest.tiny_module()\n")
    options = {"fit_data": tiny_data(seed=3)} if fitted else {}
    run = Study(
        "run", "py:subject_nets:make", "npz:all.npz", grid=(3, 4), attack=None, untrained=0, draws=50, seed=2,
        layers="stem", progress=False, **options,
    ).run()  # fmt: skip
    loaded = []
    monkeypatch.setattr("conftest.tiny_module", lambda: loaded.append(1) or tiny_module())
    _, data = subject(run)
    assert loaded == [1]
    assert data.fingerprint == run.settings["fingerprints"]["data"]
    assert list(data.rows) == run.recordings["clean"].ids.tolist()
    assert len(data) == (120 if fitted else 40)
    assert subject(run, data=load_data("npz:all.npz", show_progress=False))[1].fingerprint == data.fingerprint
