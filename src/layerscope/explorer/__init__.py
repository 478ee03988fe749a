"""A run as something to be looked at: a bundle of small files, which a page reads and knows nothing else."""

from layerscope.explorer.bundle import Bundle as Bundle
from layerscope.explorer.bundle import bundle as bundle
from layerscope.explorer.bundle import load_bundle as load_bundle
from layerscope.explorer.commands import run_again as run_again
from layerscope.explorer.page import Inlined as Inlined
from layerscope.explorer.page import inline as inline
from layerscope.explorer.run import Run as Run
