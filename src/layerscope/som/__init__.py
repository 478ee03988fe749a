"""Self-organizing maps: a grid of units whose prototypes follow the data. Knows no network; useful alone."""

from layerscope.som import pictures as pictures
from layerscope.som.estimator import SOM as SOM
from layerscope.som.estimator import stability as stability
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
