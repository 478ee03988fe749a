"""Other libraries' attacks, and networks to attack whose weak places are known."""

import copy
import functools
import warnings

import numpy as np
import torch
from conftest import TinyNet
from torch import nn

from layerscope import Network
from layerscope.attacks import Budget, Foreign

ORDERS = {"linf": np.inf, "l2": 2}


def foolbox_pgd(norm, size, **options):
    """PGD of foolbox."""

    def search(network, inputs, labels):
        foolbox, model = _foolbox(network)
        attack = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
        _, found, _ = attack(**options)(model, inputs, labels, epsilons=size)
        return found

    return Foreign(Budget(norm, size), search)


def foolbox_fmn(norm, **options):
    """The fast minimum-norm attack of foolbox; where it finds nothing, the original."""

    def search(network, inputs, labels):
        foolbox, model = _foolbox(network)
        attack = foolbox.attacks.LInfFMNAttack if norm == "linf" else foolbox.attacks.L2FMNAttack
        _, found, fooled = attack(**options)(model, inputs, labels, epsilons=None)
        return torch.where(fooled.view(-1, *[1] * (inputs.ndim - 1)), found, inputs)

    return Foreign(Budget(norm), search)


def art_pgd(norm, size, **options):
    """PGD of ART."""
    return _art("ProjectedGradientDescent", norm, size, **options)


def art_apgd(norm, size, **options):
    """Auto-PGD of ART."""
    return _art("AutoProjectedGradientDescent", norm, size, **options)


def _foolbox(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scipy's old names
        import foolbox
    return foolbox, foolbox.PyTorchModel(network.as_module(), bounds=network.bounds, device="cpu")


def _art(name, norm, size, **options):
    def search(network, inputs, labels):
        from art.attacks import evasion
        from art.estimators.classification import PyTorchClassifier

        with torch.no_grad():
            classes = network(inputs[:1]).shape[1]
        model = PyTorchClassifier(
            network.as_module(), nn.CrossEntropyLoss(), tuple(inputs.shape[1:]), classes,
            clip_values=network.bounds, device_type="cpu",
        )  # fmt: skip
        state = np.random.get_state()  # noqa: NPY002 - what ART draws from
        np.random.seed(0)  # noqa: NPY002
        try:
            made = getattr(evasion, name)(model, ORDERS[norm], size, batch_size=500, verbose=False, **options)
            return torch.from_numpy(made.generate(inputs.numpy(), labels.numpy()))
        finally:
            np.random.set_state(state)  # noqa: NPY002

    return Foreign(Budget(norm, size), search)


def linear_network(classes=5, seed=0, bounds=(0.0, 1.0)):
    """Classes decided by one direction each, of images (1, 6, 6)."""
    torch.manual_seed(seed)
    return Network(nn.Sequential(nn.Flatten(), nn.Linear(36, classes)).eval(), bounds=bounds, name="linear")


def small_module(classes=5, seed=0, *, preprocess=lambda x: x, bounds=(0.0, 1.0)):
    """Two convolutions and a head whose answers differ from image to image."""
    torch.manual_seed(seed)
    module = TinyNet()
    module.stem.insert(1, nn.BatchNorm2d(4, momentum=None))
    module.middle.append(nn.Dropout(0.5))
    module.head = nn.Sequential(nn.BatchNorm1d(6, momentum=None), nn.Linear(6, classes))
    with torch.no_grad():
        shown = preprocess(images(200, bounds=bounds))
        module.train()(shown)  # the statistics that batch normalisation runs with
        logits = module.eval()(shown)
        scale = 2 / logits.std(0)
        module.head[1].weight.mul_(scale[:, None])
        module.head[1].bias.sub_(logits.mean(0)).mul_(scale)
    return module


def images(n, shape=(1, 6, 6), seed=0, bounds=(0.0, 1.0)):
    low, high = bounds
    return low + (high - low) * torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def answers(network, inputs):
    with torch.no_grad():
        return network(inputs).argmax(1)


@functools.cache
def _regression(count):
    from sklearn.linear_model import LogisticRegression

    from layerscope import demo

    batch = next(demo.fit_data().batches(count))
    fitted = LogisticRegression(max_iter=300).fit(batch.inputs.flatten(1).numpy(), batch.labels.numpy())
    module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor(fitted.coef_))
        module[1].bias.copy_(torch.tensor(fitted.intercept_))
    return module.eval()


def clothes(count=1000):
    """A logistic regression on the pixels of the bundled images."""
    return Network(copy.deepcopy(_regression(count)), name="linear, of clothes")
