"""The bundled network and data: a small residual network and 6,000 Fashion-MNIST images (see files/README.md)."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from layerscope.data import Data
from layerscope.demo.model import ResidualNetwork
from layerscope.network import Network
from layerscope.sources import load_data

FILES = Path(__file__).parent / "files"
MEAN, DEVIATION = 0.2860, 0.3530
"""Of Fashion-MNIST's training pixels."""
CLASS_NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")


def network() -> Network:
    """The network trained the ordinary way; 92.7 % of the 10,000 test images. Spec: `py:layerscope.demo:network`."""
    return _load("standard")


def robust_network() -> Network:
    """Its twin trained on PGD inputs (Linf 8/255); 89.2 % of the test images, 85.8 % under PGD-20."""
    return _load("robust")


def fit_data() -> Data:
    """4,000 training images, for fitting atlases. Spec: `py:layerscope.demo:fit_data`."""
    return load_data(f"npz:{FILES / 'fashion-mnist-fit.npz'}")


def test_data() -> Data:
    """2,000 test images, for measuring. Spec: `py:layerscope.demo:test_data`."""
    return load_data(f"npz:{FILES / 'fashion-mnist-test.npz'}")


def normalise(images: Tensor) -> Tensor:
    """Pixels in [0, 1] to what the networks were trained on."""
    return (images - MEAN) / DEVIATION


def _load(name: str) -> Network:
    module = ResidualNetwork()
    module.load_state_dict(load_file(FILES / f"{name}.safetensors"))
    return Network(module.eval(), preprocess=normalise, class_names=CLASS_NAMES, name=f"residual network ({name})")
