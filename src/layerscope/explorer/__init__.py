"""A run as something to be looked at: a bundle of small files, which a page reads and knows nothing else."""

from layerscope.explorer.bundle import Bundle as Bundle
from layerscope.explorer.bundle import bundle as bundle
from layerscope.explorer.bundle import load_bundle as load_bundle
