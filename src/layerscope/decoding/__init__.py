"""What a code stands for: exemplars, contrast, names, attribution and inversion, with measured fidelity."""

from layerscope.decoding.decoded import Decoded as Decoded
from layerscope.decoding.decoded import Decoding as Decoding
from layerscope.decoding.decoded import code_path as code_path
from layerscope.decoding.decoded import decode as decode
from layerscope.decoding.inversion import Recipe as Recipe
