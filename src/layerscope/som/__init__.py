"""Self-organizing maps: a grid of units whose prototypes follow the data. Tensors only; knows no network."""

from layerscope.som.grid import Grid as Grid
from layerscope.som.train import Map as Map
from layerscope.som.train import initial_plane as initial_plane
from layerscope.som.train import smoothed_means as smoothed_means
from layerscope.som.train import train as train
