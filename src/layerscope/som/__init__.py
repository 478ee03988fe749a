"""Self-organizing maps: a grid of units whose prototypes follow the data. Knows no network; useful alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerscope.som.grid import Grid as Grid
from layerscope.som.quality import Quality as Quality
from layerscope.som.quality import code_agreement as code_agreement
from layerscope.som.quality import measure as measure
from layerscope.som.quality import topographic_product as topographic_product
from layerscope.som.quality import trustworthiness as trustworthiness
from layerscope.som.train import Epoch as Epoch
from layerscope.som.train import Map as Map
from layerscope.som.train import initial_plane as initial_plane
from layerscope.som.train import smoothed_means as smoothed_means
from layerscope.som.train import train as train

if TYPE_CHECKING:
    from layerscope.som import pictures as pictures
    from layerscope.som.estimator import SOM as SOM
    from layerscope.som.estimator import stability as stability

LATER = {"pictures": "pictures", "SOM": "estimator", "stability": "estimator"}
"""By name, the module that it is in. Loaded when asked for: scikit-learn takes long to load, and trains no map."""


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(f"{__name__}.{LATER[name]}")
    return found if name == "pictures" else getattr(found, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *LATER})
