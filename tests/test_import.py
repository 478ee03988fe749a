"""Importing the package changes nothing but the list of modules."""

import subprocess
import sys

SCRIPT = """
import locale, sys, warnings
import matplotlib, scipy.special, sklearn.base, torch
def state():
    return (sys.excepthook, locale.setlocale(locale.LC_ALL), torch.get_default_dtype(), torch.get_num_threads(),
            torch.get_rng_state().tolist(), dict(matplotlib.rcParams), warnings.filters[:], sys.path[:])
before = state()
import layerscope
assert state() == before
print(*sorted(name for name in sys.modules if "." not in name))
"""


def test_importing_changes_no_state_and_loads_no_extra():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "layerscope" in loaded
    assert not loaded & {"torchvision", "beartype", "timm", "transformers", "anywidget", "ipywidgets", "uvicorn"}


def test_the_door_names_what_the_design_promises():
    import layerscope as ls

    stages = "attack encode export fit_atlas flow load_data load_network load_run profile record summary"
    for name in ("Network", "Study", "figures", *stages.split()):
        assert hasattr(ls, name), name


def test_the_module_runs_as_a_program():
    done = subprocess.run([sys.executable, "-m", "layerscope", "--help"], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout
