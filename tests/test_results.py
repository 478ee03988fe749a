"""One finding, one row."""

from dataclasses import asdict
from math import isnan

import pandas as pd
import pytest

from layerscope.results import COLUMNS, MEASURES, Place, Result, finding, findings, select, table
from layerscope.store import load_table, save_table


def flip(layer, index, value=0.5, condition="pgd:linf=8/255", reduction="mean"):
    return finding("flip_rate", value, (value - 0.1, value + 0.1), 40, Place(layer, index, condition, reduction))


def test_a_finding_says_all_that_it_was_given_and_its_measures_unit():
    place = Place("blocks.0", 3, "clean", "mean")
    found = finding("code_perplexity", 7.5, (7.0, 8.0), 100, place, null_untrained=3.0, null_shuffled=2.0)
    assert asdict(found) == {
        "measure": "code_perplexity",
        "layer": "blocks.0",
        "layer_index": 3,
        "condition": "clean",
        "reduction": "mean",
        "value": 7.5,
        "low": 7.0,
        "high": 8.0,
        "null_untrained": 3.0,
        "null_shuffled": 2.0,
        "n": 100,
        "unit": "codes",
    }


def test_a_finding_about_the_whole_network_has_no_layer_and_no_nulls():
    found = finding("accuracy", 0.9, (0.8, 0.95), 100, Place())
    assert (found.layer, found.layer_index, found.condition, found.reduction) == ("", -1, "clean", "")
    assert isnan(found.null_untrained)
    assert isnan(found.null_shuffled)


OF_ANOTHER = (
    "compression", "expansion", "compression_p", "expansion_p", "smallest_perturbation",
    "vulnerability_homogeneity_p", "vulnerability_gap_p",
)  # fmt: skip


@pytest.mark.parametrize("measure", [measure for measure in MEASURES if measure not in OF_ANOTHER])
def test_every_measure_has_a_unit_a_title_and_a_meaning(measure):
    assert all(MEASURES[measure])
    assert finding(measure, 0.0, (0.0, 0.0), 1, Place()).unit == MEASURES[measure].unit


@pytest.mark.parametrize("measure", OF_ANOTHER)
def test_a_figure_of_another_measure_leaves_the_unit_to_its_rows(measure):
    unit, *words = MEASURES[measure]
    assert unit == ""
    assert all(words)
    assert finding(measure, 0.0, (0.0, 0.0), 1, Place(), unit="octaves of class_gap").unit == "octaves of class_gap"


def test_a_unit_that_is_given_stands_before_the_measures_own():
    assert finding("class_gap", 1.0, (0.0, 2.0), 9, Place(), unit="octaves").unit == "octaves"
    assert finding("class_gap", 1.0, (0.0, 2.0), 9, Place(), unit="").unit == "spreads"


def test_an_unknown_measure_is_told_which_there_are():
    with pytest.raises(ValueError, match="`measure` 'accuracies' is not known; measures are: participation_ratio, "):
        finding("accuracies", 0.9, (0.8, 1.0), 10, Place())


def test_a_table_has_a_row_for_each_finding_in_the_order_they_came():
    rows = [flip("b", 2), flip("a", 1), finding("accuracy", 0.9, (0.8, 0.95), 100, Place())]
    found = table(rows)
    assert list(found) == list(COLUMNS)
    assert found["layer"].tolist() == ["b", "a", ""]
    assert found["unit"].tolist() == ["share", "share", "share"]


def test_a_table_of_nothing_has_its_columns():
    assert list(table([])) == list(COLUMNS)
    assert len(table([])) == 0


def test_findings_are_the_rows_of_their_table(tmp_path):
    rows = [flip("a", 1), finding("accuracy", 0.9, (0.8, 0.95), 100, Place(), null_untrained=0.1, null_shuffled=0.2)]
    save_table(tmp_path / "results.parquet", table(rows))
    found = findings(load_table(tmp_path / "results.parquet"))
    assert all(isinstance(row, Result) for row in found)
    pd.testing.assert_frame_equal(table(found), table(rows))
    assert found[1] == rows[1]


@pytest.mark.parametrize(
    ("where", "layers"),
    [
        ({}, ["", "a", "b", "a", "c"]),
        ({"measure": "flip_rate"}, ["a", "b", "a", "c"]),
        ({"measure": "flip_rate", "reduction": "mean"}, ["a", "b", "c"]),
        ({"condition": "clean"}, [""]),
        ({"layer_index": 2}, ["b", "a"]),
        ({"layer": "nowhere"}, []),
    ],
)
def test_select_keeps_what_is_asked_for_in_order_of_depth(where, layers):
    rows = [flip("c", 5), flip("b", 2), flip("a", 2, reduction="sketch:8"), flip("a", 1)]
    rows.append(finding("accuracy", 0.9, (0.8, 0.95), 100, Place()))
    found = select(table(rows), **where)
    assert found["layer"].tolist() == layers
    assert found.index.tolist() == list(range(len(layers)))
