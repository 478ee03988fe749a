"""Entropies and what codes tell of labels, beside counting loops, scikit-learn and exact cases."""

from math import log, log2

import numpy as np
import pytest
import torch
from handmade import few, whole_numbers
from hypothesis import given
from hypothesis import strategies as st
from references import information as slow
from references.stats import repeated
from sklearn.metrics import mutual_info_score

from layerscope.measures.information import (
    class_entropy_given_code,
    code_perplexity,
    entropy,
    joint_counts,
    label_information,
    mutual_information,
    shuffled_counts,
)
from layerscope.stats import resample

symbols = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=60)


def joint_of(pairs, k=5, classes=3):
    codes, labels = torch.tensor(pairs).T
    return joint_counts(codes, labels, k, classes)


@pytest.mark.parametrize(
    ("counts", "bits"),
    [
        ([5.0, 0.0, 0.0], 0.0),
        ([4.0, 4.0], 1 + 1 / (16 * log(2))),
        ([2.0, 2.0, 2.0, 2.0], 2 + 3 / (16 * log(2))),
        ([3.0, 1.0], log2(4) - 0.75 * log2(3) + 1 / (8 * log(2))),
    ],
)
def test_entropy_of_known_counts(counts, bits):
    assert float(entropy(torch.tensor(counts))) == pytest.approx(bits, abs=1e-6)


@few
@given(symbols)
def test_measures_are_those_of_counting_one_by_one(pairs):
    codes, labels = zip(*pairs, strict=True)
    joint, information = joint_of(pairs), slow.mutual_information(codes, labels)
    assert float(entropy(joint.sum(1))) == pytest.approx(slow.entropy(codes), abs=1e-9)
    assert float(mutual_information(joint)) == pytest.approx(information, abs=1e-9)
    assert float(code_perplexity(joint)) == pytest.approx(2 ** slow.entropy(codes), rel=1e-9)
    assert float(class_entropy_given_code(joint)) == pytest.approx(slow.entropy(labels) - information, abs=1e-9)
    if len(set(labels)) > 1:
        assert float(label_information(joint)) == pytest.approx(information / slow.entropy(labels), abs=1e-9)


@few
@given(symbols)
def test_mutual_information_is_scikit_learns_with_the_correction_of_each_term(pairs):
    codes, labels = zip(*pairs, strict=True)
    cells = len(set(codes)) + len(set(labels)) - len(set(pairs)) - 1
    expected = mutual_info_score(codes, labels) / log(2) + cells / (2 * len(pairs) * log(2))
    assert float(mutual_information(joint_of(pairs))) == pytest.approx(expected, abs=1e-9)


@few
@given(symbols)
def test_mutual_information_is_symmetric(pairs):
    joint = joint_of(pairs)
    assert float(mutual_information(joint)) == pytest.approx(float(mutual_information(joint.T)), abs=1e-12)


@pytest.mark.parametrize("n", [100, 1000])
def test_codes_that_are_the_labels_tell_all_of_them(n):
    labels = torch.arange(n) % 4
    joint = joint_counts(labels + 3, labels, 9, 4)
    assert float(label_information(joint)) == pytest.approx(1)
    assert float(class_entropy_given_code(joint)) == pytest.approx(0, abs=1e-12)
    assert float(code_perplexity(joint)) == pytest.approx(4 * 2 ** (3 / (2 * n * log(2))))


def test_codes_that_each_hold_every_class_alike_tell_nothing_but_the_correction():
    joint = 10 * torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None].double() * torch.tensor([1.0, 3.0, 1.0])
    assert float(mutual_information(joint)) == pytest.approx(-(4 - 1) * (3 - 1) / (2 * 500 * log(2)))


def test_independent_codes_tell_nothing_of_the_labels_on_average():
    n, k, classes, sets = 300, 8, 4, 400
    codes, labels = whole_numbers(k, n * sets).reshape(sets, n), whole_numbers(classes, n * sets, seed=1)
    found = torch.stack(
        [
            mutual_information(joint_counts(*pair, k, classes))
            for pair in zip(codes, labels.reshape(sets, n), strict=True)
        ]
    )
    uncorrected = (k - 1) * (classes - 1) / (2 * n * log(2))
    error = float(found.std()) / sets**0.5
    assert abs(float(found.mean())) < 4 * error
    assert uncorrected > 20 * error


def test_the_correction_takes_most_of_the_bias_out_of_an_entropy():
    n, k, sets = 100, 16, 300
    codes = whole_numbers(k, n * sets).reshape(sets, n)
    found = torch.stack([entropy(joint_counts(row, row * 0, k, 1)[:, 0]) for row in codes])
    uncorrected = (k - 1) / (2 * n * log(2))
    assert abs(float(found.mean()) - 4) < uncorrected / 10


def test_joint_counts_are_a_contingency_table():
    codes, labels = whole_numbers(5, 80), whole_numbers(3, 80, seed=1)
    expected = np.zeros((7, 4))
    for code, label in zip(codes, labels, strict=True):
        expected[code, label] += 1
    np.testing.assert_array_equal(joint_counts(codes, labels, 7, 4), expected)


def test_weighted_counts_are_those_of_the_samples_drawn():
    codes, labels, weights = whole_numbers(5, 60), whole_numbers(3, 60, seed=1), resample(60, 9, seed=0)
    drawn = joint_counts(codes, labels, 5, 3, weights)
    assert drawn.shape == (9, 5, 3)
    for joint, counts in zip(drawn, weights, strict=True):
        pairs = repeated(list(zip(codes.tolist(), labels.tolist(), strict=True)), counts)
        torch.testing.assert_close(joint, joint_of(pairs), rtol=0, atol=0)


@pytest.mark.parametrize("measure", [mutual_information, label_information, class_entropy_given_code, code_perplexity])
def test_measures_of_many_draws_at_once_are_those_of_each(measure):
    drawn = joint_counts(whole_numbers(5, 60), whole_numbers(3, 60, seed=1), 5, 3, resample(60, 9, seed=0))
    torch.testing.assert_close(measure(drawn), torch.stack([measure(joint) for joint in drawn]))


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
    assert abs(float(told.mean())) < 4 * float(told.std()) / 50**0.5
    assert len(set(told.tolist())) > 10


def test_a_seed_gives_the_same_shuffles_and_another_gives_others():
    codes, labels = whole_numbers(5, 60), whole_numbers(3, 60, seed=1)
    one, same, other = (torch.stack(list(shuffled_counts(codes, labels, 5, 3, draws=4, seed=s))) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
