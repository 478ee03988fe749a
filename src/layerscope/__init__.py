"""An atlas of a trained network's internal codes."""

from layerscope import figures as figures
from layerscope.atlas import Atlas as Atlas
from layerscope.atlas import fit_atlas as fit_atlas
from layerscope.attacks import attack as attack
from layerscope.codes import Coded as Coded
from layerscope.codes import encode as encode
from layerscope.data import Data as Data
from layerscope.errors import LayerscopeError as LayerscopeError
from layerscope.flow import flow as flow
from layerscope.layers import Layer as Layer
from layerscope.layers import choose_layers as choose_layers
from layerscope.layers import layer_table as layer_table
from layerscope.layers import plan_layers as plan_layers
from layerscope.measures import profile as profile
from layerscope.models import load_network as load_network
from layerscope.network import Network as Network
from layerscope.recording import Recording as Recording
from layerscope.recording import load_recording as load_recording
from layerscope.recording import record as record
from layerscope.results import table as table
from layerscope.run import Run as Run
from layerscope.run import load_run as load_run
from layerscope.sources import load_data as load_data
from layerscope.study import Study as Study
from layerscope.summary import summary as summary
