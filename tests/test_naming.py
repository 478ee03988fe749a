"""Names of codes: the shortest that covers, and words only where they are beyond chance."""

import pytest
import torch

from layerscope.decoding.naming import class_mix_name, word_names


@pytest.mark.parametrize(
    ("counts", "name"),
    [
        ({}, "no exemplars"),
        ({"Sandal": 11, "Boot": 1}, "Sandal 92 %"),
        ({"Bag": 8, "Boot": 2}, "Bag 80 %"),
        ({"Bag": 79, "Boot": 21}, "Bag 79 % / Boot 21 %"),
        ({"Dress": 12, "Shirt": 41, "Coat": 30, "Bag": 17}, "Shirt 41 % / Coat 30 % / Bag 17 %"),
        ({"a": 2, "b": 2, "c": 2, "d": 2, "e": 0}, "mixed (4 classes)"),
        ({"b": 1, "a": 1}, "a 50 % / b 50 %"),
    ],
)
def test_a_name_is_the_shortest_that_covers_four_fifths(counts, name):
    assert class_mix_name(counts) == name


WORDS = ("red", "green", "blue")
COLOURS = torch.eye(3)


def encode_words(words):
    return torch.stack([COLOURS[WORDS.index(word)] for word in words])


def colours(n=120, seed=0):
    """Vectors around a colour for units 0 to 2, and around no colour for unit 3."""
    generator = torch.Generator().manual_seed(seed)
    units = torch.arange(n) % 4
    vectors = 0.3 * torch.rand(n, 3, generator=generator)
    for unit in range(3):
        vectors[units == unit, unit] += 1
    return vectors, units


def test_words_are_the_nearest_and_none_is_given_where_chance_does_as_well():
    vectors, units = colours()
    found = word_names(vectors, units, WORDS, lambda shown: shown, encode_words)
    assert [found[unit].word for unit in range(3)] == list(WORDS)
    assert found[3] is None
    mean = torch.nn.functional.normalize(torch.nn.functional.normalize(vectors[units == 1], dim=1).mean(0), dim=0)
    ranked = mean.sort(descending=True).values.tolist()
    assert found[1].cosine == pytest.approx(ranked[0], rel=1e-5)
    assert found[1].margin == pytest.approx(ranked[0] - ranked[1], rel=1e-4)
    assert found[1].margin > found[1].null


def test_a_word_that_comes_twice_counts_once():
    vectors, units = colours()
    once, twice = (
        word_names(vectors, units, words, lambda shown: shown, encode_words) for words in (WORDS, [*WORDS, *WORDS])
    )
    assert once == twice


def test_words_of_shuffled_codes_are_seldom_given():
    given = 0
    for seed in range(10):
        vectors, units = colours(seed=seed)
        shuffled = units[torch.randperm(len(units), generator=torch.Generator().manual_seed(seed))]
        found = word_names(vectors, shuffled, WORDS, lambda shown: shown, encode_words, draws=100, seed=seed)
        given += sum(word is not None for word in found.values())
    assert given <= 8  # of 40, where 2 are expected


def test_vocabularies_and_encoders_that_do_not_fit_are_refused():
    vectors, units = colours()
    with pytest.raises(ValueError, match=r"`words` must be two different words at least.* got \['red'\]\."):
        word_names(vectors, units, ["red"], lambda shown: shown, encode_words)
    with pytest.raises(ValueError, match=r"must give vectors of one space.* got \(120, 2\) and \(3, 3\)\."):
        word_names(vectors, units, WORDS, lambda shown: shown[:, :2], encode_words)
