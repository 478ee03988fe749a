"""What each reduction keeps of a layer's output."""

import numpy as np
import pytest
import torch
from handmade import gaussian

from layerscope.reductions import Flatten, Mean, Sketch, parse_reduction

SIZE = 64


@pytest.mark.parametrize(
    ("shape", "axes"), [((5, 7), ()), ((5, 4, 7), (1,)), ((5, 7, 2, 3), (2, 3)), ((5, 7, 2, 3, 4), (2, 3, 4))]
)
def test_mean_averages_tokens_or_space_and_keeps_features(shape, axes):
    output = gaussian(*shape)
    found = Mean()(output)
    assert found.shape == (5, 7)
    np.testing.assert_allclose(found, output.double().numpy().mean(axes) if axes else output, atol=1e-6)


@pytest.mark.parametrize("reduction", [Mean(), Flatten(), Sketch(8)])
def test_outputs_of_one_number_a_sample_become_vectors_of_width_1(reduction):
    assert reduction(torch.tensor([1.0, 2.0, 3.0])).tolist() == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("shape", [(5, 7), (5, 4, 7), (5, 7, 2, 3)])
def test_flatten_keeps_every_number_in_order(shape):
    output = gaussian(*shape)
    np.testing.assert_array_equal(Flatten()(output), output.numpy().reshape(5, -1))


@pytest.mark.parametrize("reduction", [Mean(), Flatten(), Sketch(8)])
def test_what_is_kept_does_not_change_with_the_output(reduction):
    output = gaussian(5, 6)
    kept = reduction(output)
    before = kept.clone()
    output.zero_()
    assert torch.equal(kept, before)
    assert before.abs().sum() > 0


@pytest.mark.parametrize("width", [1, SIZE])
def test_outputs_no_wider_than_the_sketch_are_kept_whole(width):
    output = gaussian(5, width)
    assert torch.equal(Sketch(SIZE)(output), output)


def test_every_feature_goes_to_one_place_in_each_of_eight_groups():
    matrix = Sketch(SIZE)(torch.eye(300)).T
    assert matrix.shape == (SIZE, 300)
    entries = matrix[matrix != 0]
    torch.testing.assert_close(entries.abs(), torch.full((8 * 300,), 8**-0.5))
    assert ((matrix != 0).reshape(8, SIZE // 8, 300).sum(1) == 1).all()
    assert abs(float(entries.sign().mean())) < 4 / (8 * 300) ** 0.5
    # each place takes its share: 8 x 300 entries over 64 places
    assert float((matrix != 0).sum(1).float().std()) < 2 * (8 * 300 / SIZE) ** 0.5


def test_a_sketch_is_linear():
    one, other = gaussian(4, 200), gaussian(4, 200, seed=1)
    sketch = Sketch(SIZE)
    torch.testing.assert_close(sketch(2 * one - other), 2 * sketch(one) - sketch(other), atol=1e-4, rtol=1e-4)


def test_a_sketch_of_a_feature_map_is_that_of_its_numbers_in_order():
    output = gaussian(4, 8, 5, 5)
    assert torch.equal(Sketch(SIZE)(output), Sketch(SIZE)(output.reshape(4, 200)))


@pytest.mark.parametrize("size", [16, SIZE])
@pytest.mark.parametrize("kind", ["even", "steep"])
def test_squared_distances_are_kept_without_bias_and_with_the_stated_spread(size, kind):
    """Over 400 widths, and so over 400 independent projections."""
    kept, sketch = [], Sketch(size)
    for width in range(200, 600):
        difference = torch.ones(1, width) if kind == "even" else 0.97 ** torch.arange(width)[None]
        kept.append(float(sketch(difference).square().sum() / difference.square().sum()))
    # a feature's own square is kept exactly: only products of two features vary
    alone = 1 / 400 if kind == "even" else (1 - 0.97**2) ** 2 / (1 - 0.97**4)
    spread = (2 / size * (1 - alone)) ** 0.5
    assert np.mean(kept) == pytest.approx(1, abs=4 * spread / 400**0.5)
    assert np.std(kept) == pytest.approx(spread, rel=0.2)


def test_sketches_of_one_size_are_equal_whoever_makes_them():
    output = gaussian(3, 200)
    first = Sketch(SIZE)
    one = first(output)
    assert torch.equal(one, first(output))
    assert torch.equal(one, Sketch(SIZE)(output))
    assert torch.equal(one, parse_reduction(f"sketch:{SIZE}")(output))
    assert first == Sketch(SIZE) != Sketch(SIZE + 8)


@pytest.mark.parametrize(
    ("spec", "reduction"),
    [("mean", Mean()), ("flatten", Flatten()), ("sketch:512", Sketch(512)), ("sketch:8", Sketch(8))],
)
def test_a_spec_names_its_reduction(spec, reduction):
    assert parse_reduction(spec) == reduction
    assert reduction.name == spec


@pytest.mark.parametrize("spec", ["", "max", "mean:3", "flatten:", "sketch", "sketch:", "sketch:many", "sketch:-8"])
def test_an_unknown_spec_is_told_what_to_write(spec):
    with pytest.raises(
        ValueError, match=f"The reduction '{spec}' is not known; write `mean`, `flatten`, or `sketch:SIZE`"
    ):
        parse_reduction(spec)


@pytest.mark.parametrize("size", [0, 7])
def test_a_sketch_has_room_for_its_groups(size):
    with pytest.raises(ValueError, match=f"`sketch` needs a size that is a multiple of 8; got {size}"):
        parse_reduction(f"sketch:{size}")
