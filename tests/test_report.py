"""The report: one file that stands alone and says what the tables say."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from layerscope import summary
from layerscope.report.page import number, write_report


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(tiny_run):
    return (tiny_run.folder / "report.html").read_text()


def test_the_report_loads_nothing_and_runs_nothing(page):
    tags = Tags(page).tags
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe", "object", "embed")]
    for tag, attributes in tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("#", "data:image/png;base64,")), (tag, value)
    assert not re.findall(r"url\((?!#)", page)


def test_the_report_has_all_its_sections(page):
    ids = {attributes.get("id") for _, attributes in Tags(page).tags}
    assert {"found", "depth-1", "depth-2", "example", "numbers", "what-was-run"} <= ids


def test_every_sentence_of_the_summary_is_there(tiny_run, page):
    text = " ".join(Tags(page).text.split())
    for sentence in summary(tiny_run.results):
        assert " ".join(sentence.split()) in text


def test_every_number_of_the_table_is_there(tiny_run, page):
    text = Tags(page).text
    for row in tiny_run.results[tiny_run.results["layer"] != ""].itertuples():
        assert f"{number(row.value)}{number(row.low)}{number(row.high)}" in text.replace("\n", "")


def test_the_report_says_what_averaging_and_p_values_are_of(page):
    text = " ".join(Tags(page).text.split())
    assert "Layers that have positions are averaged over them (not so the input)" in text
    assert "averaged over its positions" not in text
    assert "p of compression: untrained: of one more draw as far from their mean, either way; shuffled: " in text
    assert "share of H(label)" in text


def test_the_report_is_the_same_when_it_is_written_again(tiny_run, page):
    assert tiny_run.report().read_text() == page


def test_names_that_hold_markup_are_shown_as_text(tiny_run, tmp_path):
    evil = "<script>alert(1)</script>$x_1$"
    settings = dict(tiny_run.settings)
    settings["chosen"] = settings["chosen"] | {"class_names": [evil, "b", 'c"&'], "network": evil}
    settings["warnings"] = [evil]
    results = tiny_run.results.replace({"layer": {"stem": evil}})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "smallest.parquet").write_bytes((tiny_run.folder / "smallest.parquet").read_bytes())
    run = replace(tiny_run, folder=tmp_path / "run", settings=settings, results=pd.DataFrame(results))
    page = write_report(run).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;$x_1$" in page


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12345, "0.123"), (1234.5, "1,234"), (float("nan"), ""), (12.3456, "12.3"), (0.0, "0"), (0.00091, "0.00091")],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown
