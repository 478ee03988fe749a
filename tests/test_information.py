"""Entropies and what codes tell of labels, beside counting loops, scipy, scikit-learn, sampling and simulation."""

from math import log, log2

import numpy as np
import pytest
import torch
from handmade import few, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import information as slow
from scipy import stats
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from layerscope.measures import conditional, information
from layerscope.measures.conditional import (
    CONCENTRATIONS,
    DEGREE,
    DOMINANCES,
    DOMINANT,
    RIDGE,
    ROUNDS,
    conditional_entropy,
)
from layerscope.measures.information import (
    ENTROPIES,
    class_overlap,
    code_entropy,
    entropy,
    joint_counts,
    label_information,
    left_over,
    mutual_information,
    plug_in_entropy,
    purity,
    shuffled_counts,
)
from layerscope.stats import Z, dealt_groups

PRIORS = CONCENTRATIONS.numpy(), DOMINANCES.numpy(), DOMINANT
symbols = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=60)


def joint_of(pairs, k=5, classes=3):
    codes, labels = torch.tensor(pairs).T
    return joint_counts(codes, labels, k, classes)


def drawn(n, seed, k=40, classes=5, alpha=0.3):
    """A joint distribution whose codes hold classes in Dirichlet shares; samples of it; and I / H(label) in truth."""
    rng = np.random.default_rng(17)
    shares = np.full((k, classes), 1 / classes) if alpha is None else rng.dirichlet(np.full(classes, alpha), k)
    joint = rng.dirichlet(np.full(k, 3.0))[:, None] * shares
    cells = np.random.default_rng(seed).choice(k * classes, n, p=joint.ravel() / joint.sum())
    told = (bits(joint.sum(1)) + bits(joint.sum(0)) - bits(joint.ravel())) / bits(joint.sum(0))
    return torch.tensor(cells // classes), torch.tensor(cells % classes), told


def bits(p):
    return float(stats.entropy(p, base=2))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([5.0, 0.0, 0.0], 0.0),
        ([4.0, 4.0], 1 + 1 / (16 * log(2))),
        ([2.0, 2.0, 2.0, 2.0], 2 + 3 / (16 * log(2))),
        ([3.0, 1.0], log2(4) - 0.75 * log2(3) + 1 / (8 * log(2))),
    ],
)
def test_entropy_of_known_counts(counts, expected):
    assert float(entropy(torch.tensor(counts))) == pytest.approx(expected, abs=1e-6)


@few
@given(st.lists(st.integers(0, 8), min_size=2, max_size=80))
def test_entropies_are_those_of_counting_one_by_one(found):
    counts = torch.bincount(torch.tensor(found), minlength=11).double()
    references = (slow.plug_in, slow.entropy, slow.grassberger, slow.chao_shen)
    for (name, estimate), reference in zip(ENTROPIES.items(), references, strict=True):
        assert float(estimate(counts)) == pytest.approx(reference(found), abs=1e-9), name
    assert float(plug_in_entropy(counts)) == pytest.approx(bits(counts.numpy()), abs=1e-12)


@few
@given(symbols)
def test_plug_in_information_is_scikit_learns(pairs):
    codes, labels = zip(*pairs, strict=True)
    joint = joint_of(pairs)
    told = plug_in_entropy(joint.sum(0)) + plug_in_entropy(joint.sum(1)) - plug_in_entropy(joint.flatten())
    assert float(told) == pytest.approx(mutual_info_score(codes, labels) / log(2), abs=1e-9)


@few
@given(symbols)
def test_what_is_left_of_the_label_is_found_row_by_row(pairs):
    joint = joint_of(pairs)
    expected = slow.conditional_entropy(joint.numpy(), *PRIORS, ROUNDS, DEGREE, RIDGE)
    assert float(conditional_entropy(joint)) == pytest.approx(expected, abs=1e-7)  # high powers are nearly alike


@few
@given(symbols)
def test_information_is_the_labels_entropy_less_what_is_left(pairs):
    joint = joint_of(pairs)
    whole, left = entropy(joint.sum(0)), conditional_entropy(joint)
    assert float(mutual_information(joint)) == pytest.approx(float(whole - left), abs=1e-12)
    if len({label for _, label in pairs}) > 1:
        assert float(label_information(joint)) == pytest.approx(float(1 - left / whole), abs=1e-12)


def test_codes_that_are_the_labels_leave_nothing():
    labels = torch.arange(1000) % 4
    joint = joint_counts(labels + 3, labels, 9, 4)
    assert float(label_information(joint)) == pytest.approx(1, abs=2e-3)


def test_codes_that_each_hold_every_class_alike_tell_nothing():
    joint = 30 * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None].double() * torch.tensor([1.0, 3.0, 1.0])
    assert -3e-3 < float(label_information(joint)) < 0  # codes are more alike than chance would have them


@pytest.mark.parametrize(
    ("alpha", "bound"),
    [(None, 0.02), (2.0, 0.02), (0.3, 0.02), (0.05, 0.02)],
    ids=["none", "weak", "middling", "strong"],
)
def test_information_is_within_a_fiftieth_of_a_bit_of_the_truth_with_ten_samples_a_code(alpha, bound):
    found, plain = [], []
    for seed in range(60):
        codes, labels, told = drawn(1440, seed, k=144, classes=10, alpha=alpha)
        joint = joint_counts(codes, labels, 144, 10)
        whole = bits(joint.sum(0).numpy())
        found.append(float(mutual_information(joint)) - told * whole)
        plain.append(mutual_info_score(codes, labels) / log(2) - told * whole)
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found)) < bound + 2 * error
    assert np.mean(plain) > 5 * bound


@pytest.mark.parametrize("alpha", [2.0, 0.3, 0.05])
def test_the_interval_of_information_holds_the_truth_as_often_as_it_says(alpha):
    held = []
    for seed in range(120):
        codes, labels, told = drawn(600, seed, alpha=alpha)
        left = left_over(codes, labels, 40, 5)
        whole = float(entropy(torch.bincount(labels).double()))
        error = Z * float(left.influence.std()) / 600**0.5 / whole
        held.append(abs(1 - left.bits / whole - told) < error)
    assert 0.9 <= np.mean(held) <= 1


def test_the_interval_of_a_code_entropy_holds_the_truth_as_often_as_it_says():
    p = np.random.default_rng(0).dirichlet(np.full(64, 2.0))
    held = []
    for seed in range(200):
        codes = torch.tensor(np.random.default_rng(seed).choice(64, 1000, p=p))
        told = code_entropy(codes, 64)
        held.append(abs(told.bits - bits(p)) < Z * float(told.influence.std()) / 1000**0.5)
    assert 0.9 <= np.mean(held) <= 0.99


def test_pulls_are_those_of_leaving_groups_out():
    codes, labels, _ = drawn(300, 0)
    told, dealt = left_over(codes, labels, 40, 5), dealt_groups(300)
    without = []
    for group in range(20):
        kept = dealt != group
        without.append(float(conditional_entropy(joint_counts(codes[kept], labels[kept], 40, 5))))
    variance = 19 / 20 * sum((one - np.mean(without)) ** 2 for one in without)
    assert told.bits == pytest.approx(float(conditional_entropy(joint_counts(codes, labels, 40, 5))))
    assert float(told.influence.mean()) == pytest.approx(0, abs=1e-9)
    assert float(told.influence.var()) / 300 == pytest.approx(variance, rel=0.01)


@few
@given(symbols)
def test_purity_and_overlap_are_those_of_the_contingency_table(pairs):
    codes, labels = zip(*pairs, strict=True)
    table = contingency_matrix(codes, labels)
    joint = joint_of(pairs)
    assert float(purity(joint)) == pytest.approx(table.max(1).sum() / len(pairs))
    assert float(class_overlap(joint)) == pytest.approx(np.mean((table > 0).sum(1) > 1))


def test_joint_counts_are_a_contingency_table():
    codes, labels = whole_numbers(5, 80), whole_numbers(3, 80, seed=1)
    expected = np.zeros((7, 4))
    for code, label in zip(codes, labels, strict=True):
        expected[code, label] += 1
    np.testing.assert_array_equal(joint_counts(codes, labels, 7, 4), expected)


@pytest.mark.parametrize("measure", [mutual_information, label_information, conditional_entropy, purity, class_overlap])
def test_measures_of_many_tables_at_once_are_those_of_each(measure):
    tables = torch.stack(
        list(shuffled_counts(whole_numbers(5, 60), whole_numbers(3, 60, seed=1), 5, 3, draws=9, seed=0))
    )
    tables[4] = joint_counts(whole_numbers(2, 60), whole_numbers(2, 60, seed=2), 5, 3)
    torch.testing.assert_close(measure(tables), torch.stack([measure(joint) for joint in tables]))


def test_shuffling_keeps_how_often_each_code_and_each_label_comes():
    codes, labels = whole_numbers(5, 60), whole_numbers(3, 60, seed=1)
    shuffled = torch.stack(list(shuffled_counts(codes, labels, 5, 3, draws=20, seed=0)))
    joint = joint_counts(codes, labels, 5, 3)
    assert shuffled.shape == (20, 5, 3)
    torch.testing.assert_close(shuffled.sum(2), joint.sum(1).expand(20, 5), rtol=0, atol=0)
    torch.testing.assert_close(shuffled.sum(1), joint.sum(0).expand(20, 3), rtol=0, atol=0)


def test_shuffling_breaks_what_codes_tell_of_labels():
    labels = whole_numbers(3, 300)
    told = label_information(torch.stack(list(shuffled_counts(labels, labels, 3, 3, draws=50, seed=0))))
    assert float(told.max()) < 0.1
    assert float(told.mean()) < 0.01
    assert len(set(told.tolist())) > 10


def test_a_seed_gives_the_same_shuffles_and_another_gives_others():
    codes, labels = whole_numbers(5, 60), whole_numbers(3, 60, seed=1)
    one, same, other = (torch.stack(list(shuffled_counts(codes, labels, 5, 3, draws=4, seed=s))) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("cells", [1, 500, 2000, 20_000])
def test_what_is_left_over_does_not_depend_on_how_much_is_held_at_once(cells, monkeypatch):
    codes, labels = whole_numbers(40, 600), whole_numbers(6, 600, seed=1)
    whole = left_over(codes, labels, 40, 6)
    monkeypatch.setattr(information, "TABLED", cells)
    monkeypatch.setattr(conditional, "CELLS", cells)
    parts = left_over(codes, labels, 40, 6)
    assert parts.bits == pytest.approx(whole.bits, abs=1e-12)
    torch.testing.assert_close(parts.influence, whole.influence, atol=1e-9, rtol=0)


def test_one_sample_alone_has_no_pull_that_is_known():
    told = left_over(torch.tensor([0]), torch.tensor([0]), 4, 2)
    assert told.bits == pytest.approx(0.0, abs=1e-9)
    assert told.influence.isnan().tolist() == [True]


def test_codes_of_very_many_samples_are_told_by_an_integral_as_by_the_sum(monkeypatch):
    rng = np.random.default_rng(2)
    sizes = np.array([1, 3, 40, 255, 256, 257, 258, 300, 513, 1000, 4000, 4001])
    rows = [rng.multinomial(size, rng.dirichlet(np.full(6, 0.4))) for size in sizes]
    joint = torch.tensor(np.stack(rows)).double()
    quick = float(conditional_entropy(joint))
    monkeypatch.setattr(conditional, "PLAIN", 10_000)
    assert quick == pytest.approx(float(conditional_entropy(joint)), abs=1e-7)


def test_a_code_of_very_many_samples_costs_no_more_points_than_its_octaves():
    points, weights, ends = conditional._points(torch.tensor([0.0, 1.0, 2.0, 256.0, 257.0, 10.0**6]).double())
    assert len(points) < 256 + 6 * 16
    assert ends.tolist() == [0, 0, 1, 255, 256, len(points)]
    assert float(weights.sum()) == pytest.approx(sum(1 / j for j in range(1, 10**6)), rel=1e-7)
