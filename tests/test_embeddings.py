"""Texts and tokens as embeddings that can change a little: the same answers, the same promises, padding left alone."""

import functools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from layerscope import Network, Study, attack, check_attack, load_data, robustness, smallest_perturbations
from layerscope.attacks import parse_attack
from layerscope.embeddings import Embedded, attackable
from layerscope.network import EMBEDDINGS

WORDS, LENGTH, CLASSES = 40, 8, 4
SPECS = [
    "fgsm:linf=0.05", "pgd:l2=0.5,restarts=2", "pgd:linf=0.05,stop=fooled", "apgd-ce:l2=0.5,steps=10",
    "apgd-dlr:linf=0.05,steps=10", "fmn:l2,steps=15", "bisect:l2,steps=5,halvings=3", "noise:linf=0.05",
    "uniform:l2=0.5",
]  # fmt: skip


class Reader(nn.Module):
    """Words and places looked up, mixed with their neighbours, averaged over the tokens that are no padding."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 16), nn.Embedding(LENGTH, 16)
        self.mixed, self.head = nn.Sequential(nn.Linear(16, 16), nn.Tanh()), nn.Linear(16, CLASSES)

    def forward(self, input_ids, attention_mask):
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        states = self.mixed(self.words(input_ids) + 0.1 * self.places(places))
        mask = attention_mask[..., None]
        return self.head((states * mask).sum(1) / mask.sum(1))


def tokens(n=120, seed=0):
    """Texts whose class is the range that most of their words come from, of several lengths."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    own = 10 * labels[:, None] + torch.randint(10, (n, LENGTH), generator=generator)
    other = torch.randint(WORDS, (n, LENGTH), generator=generator)
    ids = torch.where(torch.rand(n, LENGTH, generator=generator) < 0.6, own, other)
    lengths = torch.randint(4, LENGTH + 1, (n, 1), generator=generator)
    return {"input_ids": ids, "attention_mask": (torch.arange(LENGTH) < lengths).long()}, labels


@functools.cache
def trained():
    torch.manual_seed(0)
    module, (given, labels) = Reader(), tokens(seed=1)
    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        cross_entropy(module(**given), labels).backward()
        optimiser.step()
    module.zero_grad(set_to_none=True)
    return Network(module.eval())


def test_given_its_own_embeddings_the_network_answers_as_it_does():
    network, (given, _) = trained(), tokens()
    asked, inputs = attackable(network, given)
    assert isinstance(asked, Embedded)
    torch.testing.assert_close(inputs, network.module.words(given["input_ids"]))
    assert asked(inputs).equal(network(given))
    assert network(asked.samples(inputs)).equal(network(given))
    some = torch.tensor([3, 70, 5])
    assert asked.rows(some)(inputs[some]).equal(network({name: values[some] for name, values in given.items()}))


def test_a_change_of_the_embeddings_is_what_a_change_of_the_table_would_be():
    network, (given, _) = trained(), tokens(1)
    asked, inputs = attackable(network, given)
    changed = inputs.clone()
    changed[0, 0] += 0.5
    module = Reader()
    module.load_state_dict(network.module.state_dict())
    module.eval()
    alone = {name: values.clone() for name, values in given.items()}
    word = int(alone["input_ids"][0, 0])
    alone["input_ids"][0, 1:][alone["input_ids"][0, 1:] == word] = (word + 1) % WORDS
    expected = asked.rows(torch.tensor([0]))
    same, start = attackable(Network(module), alone)
    moved = start.clone()
    moved[0, 0] += 0.5
    with torch.no_grad():
        module.words.weight[word] += 0.5
    torch.testing.assert_close(same(moved), Network(module)(alone))
    assert not expected(changed).equal(expected(inputs))


def test_layers_that_are_watched_see_the_changed_embeddings():
    network, (given, _) = trained(), tokens(4)
    asked, inputs = attackable(network, given)
    seen = {}
    network.watch(
        asked.samples(inputs + 1), ["words", "places"], lambda name, output: seen.update({name: output.tensor})
    )
    torch.testing.assert_close(seen["words"], inputs + 1)
    assert seen["places"].equal(network.module.places(torch.arange(LENGTH).expand(4, LENGTH)))
    assert not any(part._forward_hooks for part in network.module.modules())


@pytest.mark.parametrize("spec", SPECS)
def test_every_attack_keeps_its_promises_on_embeddings(spec):
    network, (given, labels) = trained(), tokens()
    _, inputs = attackable(network, given)
    before = network.fingerprint()
    found = attack(network, given, labels, spec, seed=3)
    changed = found.inputs[EMBEDDINGS]
    assert (changed - inputs)[given["attention_mask"] == 0].abs().max() == 0
    assert found.success.equal(network(found.inputs).argmax(1) != labels)
    assert (found.sizes <= parse_attack(spec).budget.size * (1 + 1e-5)).all()
    assert changed.equal(attack(network, given, labels, spec, seed=3).inputs[EMBEDDINGS])
    assert network.fingerprint() == before
    if not spec.startswith(("noise", "uniform")):
        noise = "noise" + spec[spec.index(":") :].partition(",")[0] if "=0." in spec else "noise:l2=0.05"
        assert found.success.sum() > attack(network, given, labels, noise).success.sum()


def test_checks_pass_on_embeddings():
    network, (given, labels) = trained(), tokens()
    checks = check_attack(*attackable(network, given), labels, parse_attack("pgd:l2=0.5"))
    assert [check.name for check in checks if not check.passed] == []
    assert "a huge budget fools it" in [check.name for check in checks]


@pytest.mark.usefixtures("undrawn")
def test_a_study_of_texts_attacks_their_embeddings_beside_matched_noise(tmp_path):
    network, data = trained(), tokens(240)
    study = Study(tmp_path, network, data, attack="pgd:l2=1.5", grid=(3, 3), untrained=0, draws=50, progress=False)
    run = study.run()
    attacked, noisy = (run.recordings[name] for name in ("pgd:l2=1.5", "noise:pgd:l2=1.5"))
    torch.testing.assert_close(attacked.sizes["l2"], noisy.sizes["l2"], rtol=1e-6, atol=0)
    assert (attacked.predictions != attacked.labels).sum() > 3 * (noisy.predictions != noisy.labels).sum()
    assert set(run.results["measure"]) >= {"flip_rate", "amplification", "vulnerability_homogeneity"}
    assert any("changes the embeddings of tokens, not texts" in warning for warning in run.warnings)
    assert "words" in set(run.results.query("measure == 'flip_rate'")["layer"])


def test_robustness_and_smallest_perturbations_of_texts():
    network, (given, labels) = trained(), tokens()
    data = load_data((given, labels))
    found = robustness(network, data, ["pgd:l2=0.5", "fmn:l2,steps=15"], batch_size=50, show_progress=False)
    whole = attack(network, given, labels, "pgd:l2=0.5")
    assert found.samples["success:pgd:l2=0.5"].tolist() == whole.success.tolist()
    assert found.results[-1].measure == "smallest_perturbation"
    assert 0 < found.results[-1].value < 5
    smallest = smallest_perturbations(network, data, "fmn:l2,steps=15", samples=40, show_progress=False)
    assert smallest["size"].between(0, 20).all()


def test_a_surrogate_of_texts_is_refused():
    with pytest.raises(ValueError, match=r"embeddings are one network's own"):
        robustness(trained(), load_data(tokens()), "pgd:l2=0.5", surrogate=trained(), show_progress=False)


def test_what_has_no_embeddings_is_refused():
    class Counts(nn.Module):
        def forward(self, input_ids, attention_mask):
            return torch.stack([(input_ids * attention_mask).sum(1), attention_mask.sum(1)], 1).float()

    given, labels = tokens(6)
    with pytest.raises(ValueError, match=r"'Counts' has no `nn.Embedding` that is asked for `input_ids`"):
        attack(Network(Counts().eval()), given, labels, "pgd:l2=1")
    with pytest.raises(ValueError, match=r"An attack needs samples of one tensor of numbers each .* got tuple"):
        attack(Network(nn.Bilinear(2, 2, 2).eval()), (torch.ones(3, 2), torch.ones(3, 2)), labels[:3], "pgd:l2=1")
