"""What a run found, in the formats of other tools."""

from layerscope.export.door import TOOLS as TOOLS
from layerscope.export.door import Exported as Exported
from layerscope.export.door import export as export
