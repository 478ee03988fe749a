"""Figures draw what the tables say."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from layerscope import figures
from layerscope.depth_drawing import own_axes
from layerscope.results import select
from layerscope.som import Grid

LAYERS = ["input", "stem", "middle", "logits"]


def lines(axes):
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()}


@pytest.mark.parametrize("reduction", ["mean", "sketch:512"])
@pytest.mark.parametrize("measure", ["label_information", "participation_ratio", "code_perplexity"])
def test_the_telescope_draws_values_and_nulls_of_the_table(tiny_run, measure, reduction):
    axes = figures.telescope(tiny_run, measure, reduction=reduction)
    assert isinstance(axes, Axes)
    drawn = lines(axes)
    for condition, label in (
        ("clean", "trained"),
        ("untrained", "same network, untrained"),
        ("shuffled", "labels shuffled"),
    ):
        rows = select(tiny_run.results, measure=measure, reduction=reduction, condition=condition)
        assert (label in drawn) == (len(rows) > 0)
        if len(rows):
            np.testing.assert_array_equal(drawn[label], rows["value"])
    assert [text.get_text() for text in axes.get_xticklabels()] == LAYERS


def test_the_telescopes_are_a_panel_for_each_measure_and_reduction(tiny_run):
    titles = [axes.get_title(loc="left") for axes in figures.telescopes(tiny_run).axes]
    assert titles == [
        f"{measure}, under {reduction}"
        for measure in (
            "label information I(code; label) / H(label)",
            "participation ratio",
            "gap to another class",
            "intrinsic dimension (TwoNN)",
        )
        for reduction in ("mean", "sketch:512")
    ]


def test_the_telescopes_leave_out_what_the_run_does_not_hold(tiny_run):
    results = tiny_run.results
    without = results[~results["measure"].isin(["class_gap", "dimension_twonn"])]
    panels = figures.telescopes(replace(tiny_run, results=without)).axes
    assert len(panels) == 4
    drawn = lines(panels[3])["trained"]
    rows = select(results, measure="participation_ratio", reduction="sketch:512", condition="clean")
    np.testing.assert_array_equal(drawn, rows["value"])


def test_legends_have_one_order_and_show_the_longest_dashes(tiny_run):
    for axes in figures.telescopes(tiny_run).axes:
        legend = axes.get_legend()
        names = [text.get_text() for text in legend.get_texts()]
        every = ("trained", "same network, untrained", "reduction alone", "random codebook", "labels shuffled")
        assert names == [name for name in every if name in names]
        assert legend.handlelength * 8 > 1.5 * (8 + 3)  # in points: a dash and its gap, at the line's width


def test_the_note_where_an_attack_parts_from_noise_stays_inside_the_axes(tiny_run, monkeypatch):
    for place, layer in enumerate(LAYERS):
        monkeypatch.setattr(figures, "layer_of_departure", lambda *_, layer=layer: layer)
        for axes in (figures.flow(tiny_run), figures.depth(tiny_run).axes[-2]):
            axes.figure.draw_without_rendering()
            (note,) = axes.texts
            box, inside = note.get_window_extent(), axes.get_window_extent()
            assert note.get_text() == "attack parts from noise here"
            assert box.x0 >= inside.x0
            assert box.x1 <= inside.x1 or (place == 2 and axes.figure.axes == [axes])  # a narrow figure of its own


def test_the_band_is_the_interval(tiny_run):
    axes = figures.telescope(tiny_run, "code_perplexity")
    rows = select(tiny_run.results, measure="code_perplexity", reduction="mean", condition="clean")
    corners = axes.collections[-1].get_paths()[0].vertices
    for row in rows.itertuples():
        heights = corners[corners[:, 0] == row.layer_index, 1]
        assert heights.min() == pytest.approx(row.low)
        assert heights.max() == pytest.approx(row.high)


def test_the_flow_draws_attack_and_noise(tiny_run):
    drawn = lines(figures.flow(tiny_run, "grid_shift", reduction="sketch:512"))
    for condition, label in (("noise:pgd:linf=8/255", "noise of its size"), ("pgd:linf=8/255", "pgd:linf=8/255")):
        rows = select(tiny_run.results, measure="grid_shift", reduction="sketch:512", condition=condition)
        np.testing.assert_array_equal(drawn[label], rows["value"])


def test_maps_have_a_cell_for_every_unit_and_the_path_goes_through_the_sample_s_units(tiny_run):
    sample = int(tiny_run.codes["clean"]["id"].iloc[3])
    axes = figures.maps(tiny_run, sample=sample)
    assert len(axes.collections[0].get_paths()) == 4 * 12
    places, _, _ = figures._places(tiny_run.grid)
    units = [int(tiny_run.codes["clean"][f"code:{layer}|mean"].iloc[3]) for layer in LAYERS]
    path = next(line for line in axes.get_lines() if line.get_label() == "clean").get_xydata()
    np.testing.assert_allclose(path, places[units] + np.column_stack([np.arange(4), np.zeros(4)]))


@pytest.mark.parametrize("kind", ["hexagonal", "rectangular"])
def test_cells_touch_and_fill_the_map_s_width(kind):
    places, outline, _ = figures._places(Grid(4, 5, kind))
    cells = places[:, None] + outline[None]
    assert np.ptp(cells[:, :, 0]) == pytest.approx(figures.MAP, rel=0.1)
    corners = cells[0].round(6).tolist()
    assert sum(corner in corners for corner in cells[1].round(6).tolist()) == 2  # neighbours share an edge


def test_a_measure_that_the_run_does_not_hold_is_refused(tiny_run):
    with pytest.raises(
        ValueError,
        match="The run holds no 'sharpness' under 'mean'; it holds, under mean, sketch:512: participation_ratio, ",
    ) as told:
        figures.telescope(tiny_run, "sharpness")
    assert str(told.value).count("participation_ratio") == 1
    with pytest.raises(ValueError, match="The run holds no 'flip_rate' under 'max'; make one with an attack"):
        figures.flow(tiny_run, reduction="max")


def test_the_depth_figure_has_one_axis_for_all_panels(tiny_run):
    figure = figures.depth(tiny_run)
    panels = [axes for axes in figure.axes if axes.axison]
    assert len(panels) == 5
    assert {axes.get_xlim() for axes in panels} == {(-0.5, 3.5)}
    figure.draw_without_rendering()
    assert all(axes.get_legend().get_window_extent().x1 <= figure.bbox.x1 for axes in panels if axes.get_legend())
    boxes = [axes.get_position() for axes in panels]
    assert len({(round(box.x0, 3), round(box.x1, 3)) for box in boxes}) == 1


def test_too_many_classes_to_list_are_counted(tiny_run):
    settings = dict(tiny_run.settings) | {"chosen": tiny_run.settings["chosen"] | {"class_names": list("abc") * 20}}
    axes = own_axes(3)
    figures.class_legend(replace(tiny_run, settings=settings), axes)
    assert [text.get_text() for text in axes.texts] == ["60 classes, a colour each"]
    assert axes.get_legend() is None


def test_figures_leave_the_user_s_settings_alone(tiny_run):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.depth(tiny_run)
    assert dict(mpl.rcParams) == before
