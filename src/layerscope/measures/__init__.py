"""What a layer's codes and activations measure: information, geometry, topology; and the profile made of them."""

from layerscope.measures.profile import accuracy as accuracy
from layerscope.measures.profile import profile as profile
