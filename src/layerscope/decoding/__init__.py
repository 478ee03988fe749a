"""What a code stands for: exemplars, contrast, names, attribution and inversion, with measured fidelity."""

from layerscope.decoding.attribution import attribute as attribute
from layerscope.decoding.decoded import Decoded as Decoded
from layerscope.decoding.decoded import Decoding as Decoding
from layerscope.decoding.decoded import code_path as code_path
from layerscope.decoding.decoded import decode as decode
from layerscope.decoding.decoded import meant as meant
from layerscope.decoding.inversion import Recipe as Recipe
from layerscope.decoding.inversion import invert as invert
from layerscope.decoding.kept import left_to_decode as left_to_decode
from layerscope.decoding.kept import save_decoding as save_decoding
from layerscope.decoding.layer_codes import LayerCodes as LayerCodes
from layerscope.decoding.naming import word_names as word_names
from layerscope.decoding.pages import write_decoding as write_decoding
from layerscope.decoding.readout import fit_readout as fit_readout
from layerscope.decoding.sheets import contact_sheet as contact_sheet
from layerscope.decoding.sheets import unit_sheet as unit_sheet
from layerscope.decoding.texts import contexts as contexts
from layerscope.decoding.texts import text_sheet as text_sheet
