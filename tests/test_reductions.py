"""What each reduction keeps of a layer's output."""

import numpy as np
import pytest
import torch
from handmade import gaussian

from layerscope.layouts import Output
from layerscope.reductions import Flatten, Max, Mean, Positions, Sketch, Token, Tokens, parse_reduction

SIZE = 64


def told(values, features=None, mask=None):
    """An output whose features are first where it has space, last where it has tokens."""
    return Output(values, features or (1 if values.ndim > 3 else -1), mask)


def masked(n=4, tokens=6, width=5):
    """Tokens of several lengths, padded on the right, and what a reduction must not see in the padding."""
    lengths = torch.tensor([6, 3, 1, 4])[:n]
    mask = torch.arange(tokens) < lengths[:, None]
    values = gaussian(n, tokens, width)
    return values.masked_fill(~mask[..., None], 1e6), mask, lengths


@pytest.mark.parametrize(
    ("shape", "features", "axes"),
    [
        ((5, 7), -1, ()),
        ((5, 4, 7), -1, (1,)),
        ((5, 7, 4), 1, (2,)),
        ((5, 7, 2, 3), 1, (2, 3)),
        ((5, 2, 3, 7), -1, (1, 2)),
        ((5, 7, 2, 3, 4), 1, (2, 3, 4)),
    ],
)
def test_mean_and_max_go_over_positions_and_keep_features(shape, features, axes):
    output = gaussian(*shape)
    mean, most = Mean()(told(output, features)), Max()(told(output, features))
    assert mean.shape == most.shape == (5, 7)
    np.testing.assert_allclose(mean, output.double().numpy().mean(axes) if axes else output, atol=1e-6)
    np.testing.assert_array_equal(most, output.numpy().max(axes) if axes else output)


WHOLE = [Mean(), Max(), Token("cls"), Token("last"), Flatten(), Sketch(8)]


@pytest.mark.parametrize("reduction", WHOLE)
def test_outputs_of_one_number_a_sample_become_vectors_of_width_1(reduction):
    assert reduction(told(torch.tensor([1.0, 2.0, 3.0]))).tolist() == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("shape", [(5, 7), (5, 4, 7), (5, 7, 2, 3)])
def test_flatten_keeps_every_number_in_order(shape):
    output = gaussian(*shape)
    np.testing.assert_array_equal(Flatten()(told(output)), output.numpy().reshape(5, -1))


@pytest.mark.parametrize("reduction", WHOLE)
@pytest.mark.parametrize("shape", [(5, 6), (5, 3, 6)])
def test_what_is_kept_does_not_change_with_the_output(reduction, shape):
    output = gaussian(*shape)
    kept = reduction(told(output))
    before = kept.clone()
    output.zero_()
    assert torch.equal(kept, before)
    assert before.abs().sum() > 0


@pytest.mark.parametrize("place", ["cls", "last"])
def test_cls_and_last_are_the_outer_tokens(place):
    output = gaussian(5, 4, 7)
    assert Token(place)(told(output)).equal(output[:, 0 if place == "cls" else 3])


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_counts_in_no_reduction(side):
    values, mask, lengths = masked()
    if side == "left":
        values, mask = values.flip(1), mask.flip(1)
    alone = [one[own] for one, own in zip(values, mask, strict=True)]
    given = told(values, mask=mask)
    torch.testing.assert_close(Mean()(given), torch.stack([one.mean(0) for one in alone]))
    assert Max()(given).equal(torch.stack([one.amax(0) for one in alone]))
    assert Token("cls")(given).equal(torch.stack([one[0] for one in alone]))
    assert Token("last")(given).equal(torch.stack([one[-1] for one in alone]))
    flat = Flatten()(given).reshape(values.shape)
    assert flat[~mask].abs().sum() == 0
    assert flat[mask].equal(values[mask])
    assert Sketch(8)(given).equal(Sketch(8)(told(flat)))
    vectors, sample, place = Tokens()(given, range(4))
    assert vectors.equal(torch.cat(alone))
    assert sample.equal(torch.repeat_interleave(torch.arange(4), lengths))
    assert mask[sample, place].all()


@pytest.mark.parametrize("reduction", [Token("cls"), Token("last")])
@pytest.mark.parametrize(("shape", "features"), [((5, 7, 2, 3), 1), ((5, 7, 4), 1)])
def test_images_have_no_first_and_no_last_token(reduction, shape, features):
    with pytest.raises(
        ValueError, match=r"`(cls|last)` takes outputs of shape \(samples, tokens, features\); got \(5, 7"
    ):
        reduction(told(gaussian(*shape), features))


def test_tokens_are_told_from_images():
    with pytest.raises(ValueError, match=r"`tokens` takes outputs of shape \(samples, tokens, features\); got \(5, 7"):
        Tokens()(told(gaussian(5, 7, 2, 3)), range(5))


def test_without_a_mask_every_token_is_one():
    output = gaussian(3, 4, 5)
    vectors, sample, place = Tokens()(told(output), range(3))
    assert vectors.equal(output.flatten(0, 1))
    assert sample.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert place.tolist() == [0, 1, 2, 3] * 3


@pytest.mark.parametrize(("shape", "features"), [((4, 7, 3, 5), 1), ((4, 3, 5, 7), -1), ((4, 15, 7), -1)])
def test_positions_are_drawn_without_replacement_by_id(shape, features):
    output = gaussian(*shape)
    grid = (output.movedim(1, -1) if features == 1 else output).flatten(1, -2)
    vectors, sample, place = Positions(6)(told(output, features), [9, 2, 5, 7])
    assert sample.tolist() == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    assert vectors.equal(grid[sample, place])
    assert all(len(set(one.tolist())) == 6 for one in place.split(6))
    assert len({tuple(one.tolist()) for one in place.split(6)}) == 4
    again, _, elsewhere = Positions(6)(told(output[2:3], features), [5])
    assert elsewhere.equal(place[12:18])  # whatever batch it is in
    assert again.equal(vectors[12:18])


def test_positions_are_drawn_evenly():
    output = torch.arange(20.0).expand(1, 1, 20).movedim(1, 2)
    places = torch.cat([Positions(5)(told(output), [one]).place for one in range(2000)])
    assert (places.bincount(minlength=20) - 500).abs().max() < 5 * (2000 * 0.25 * 0.75) ** 0.5


def test_few_positions_are_all_taken_and_padding_is_none():
    values, mask, lengths = masked()
    vectors, sample, place = Positions(3)(told(values, mask=mask), range(4))
    assert sample.bincount().tolist() == [min(3, int(length)) for length in lengths]
    assert mask[sample, place].all()
    assert vectors.abs().max() < 1e5


@pytest.mark.parametrize("reduction", [Tokens(), Positions(3)])
def test_vectors_are_their_own_one_piece(reduction):
    output = gaussian(4, 5)
    vectors, sample, place = reduction(told(output), range(4))
    assert vectors.equal(output)
    assert sample.tolist() == [0, 1, 2, 3]
    assert place.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("width", [1, SIZE])
def test_outputs_no_wider_than_the_sketch_are_kept_whole(width):
    output = gaussian(5, width)
    assert torch.equal(Sketch(SIZE)(told(output)), output)


def test_every_feature_goes_to_one_place_in_each_of_eight_groups():
    matrix = Sketch(SIZE)(told(torch.eye(300))).T
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
    torch.testing.assert_close(
        sketch(told(2 * one - other)), 2 * sketch(told(one)) - sketch(told(other)), atol=1e-4, rtol=1e-4
    )


def test_a_sketch_of_a_feature_map_is_that_of_its_numbers_in_order():
    output = gaussian(4, 8, 5, 5)
    assert torch.equal(Sketch(SIZE)(told(output)), Sketch(SIZE)(told(output.reshape(4, 200))))


@pytest.mark.parametrize("size", [16, SIZE])
@pytest.mark.parametrize("kind", ["even", "steep"])
def test_squared_distances_are_kept_without_bias_and_with_the_stated_spread(size, kind):
    """Over 400 widths, and so over 400 independent projections."""
    kept, sketch = [], Sketch(size)
    for width in range(200, 600):
        difference = torch.ones(1, width) if kind == "even" else 0.97 ** torch.arange(width)[None]
        kept.append(float(sketch(told(difference)).square().sum() / difference.square().sum()))
    # a feature's own square is kept exactly: only products of two features vary
    alone = 1 / 400 if kind == "even" else (1 - 0.97**2) ** 2 / (1 - 0.97**4)
    spread = (2 / size * (1 - alone)) ** 0.5
    assert np.mean(kept) == pytest.approx(1, abs=4 * spread / 400**0.5)
    assert np.std(kept) == pytest.approx(spread, rel=0.2)


def test_sketches_of_one_size_are_equal_whoever_makes_them():
    output = gaussian(3, 200)
    first = Sketch(SIZE)
    one = first(told(output))
    assert torch.equal(one, first(told(output)))
    assert torch.equal(one, Sketch(SIZE)(told(output)))
    assert torch.equal(one, parse_reduction(f"sketch:{SIZE}")(told(output)))
    assert first == Sketch(SIZE) != Sketch(SIZE + 8)


@pytest.mark.parametrize(
    ("spec", "reduction"),
    [
        ("mean", Mean()),
        ("max", Max()),
        ("cls", Token("cls")),
        ("last", Token("last")),
        ("flatten", Flatten()),
        ("sketch:512", Sketch(512)),
        ("sketch:8", Sketch(8)),
        ("positions:16", Positions(16)),
        ("tokens", Tokens()),
    ],
)
def test_a_spec_names_its_reduction(spec, reduction):
    assert parse_reduction(spec) == reduction
    assert reduction.name == spec


@pytest.mark.parametrize(
    "spec", ["", "min", "mean:3", "positions:", "tokens:2", "flatten:", "sketch", "sketch:", "sketch:many", "sketch:-8"]
)
def test_an_unknown_spec_is_told_what_to_write(spec):
    with pytest.raises(
        ValueError, match=f"The reduction '{spec}' is not known; write `mean`, `max`, `cls`, `last`, `flatten`, "
    ):
        parse_reduction(spec)


@pytest.mark.parametrize("size", [0, 7])
def test_a_sketch_has_room_for_its_groups(size):
    with pytest.raises(ValueError, match=f"`sketch` needs a size that is a multiple of 8; got {size}"):
        parse_reduction(f"sketch:{size}")


def test_positions_are_one_at_least():
    with pytest.raises(ValueError, match="`positions` needs a number of at least 1; got 0"):
        parse_reduction("positions:0")
