"""The report: one file that stands alone and says what the tables say."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
import torch

from layerscope import Recording, load_run, summary
from layerscope.errors import TooLargeError
from layerscope.explorer import thinning
from layerscope.report.page import number, write_report, write_without_explorer


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


def run_by(page):
    """The scripts of a page that a browser runs."""
    return re.findall(r'<script type="module">(.*?)</script>', page, flags=re.DOTALL)


def test_the_report_loads_nothing_and_runs_the_explorer_alone(page):
    tags = Tags(page).tags
    assert not [tag for tag, _ in tags if tag in ("link", "iframe", "object", "embed")]
    kinds = [attributes["type"] for tag, attributes in tags if tag == "script"]
    assert set(kinds) == {"module", "application/json", "application/octet-stream", "text/plain"}
    [script] = run_by(page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = [attributes["content"] for tag, attributes in tags if attributes.get("http-equiv")]
    assert f"script-src 'sha256-{digest}';" in policy
    for tag, attributes in tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "xlink:href"):
                assert value.startswith(("#", "data:image/png;base64,")), (tag, value)
    assert not re.findall(r"url\((?!#)", page.replace(script, ""))


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
    assert len(run_by(page)) == 1
    assert not re.findall("<script(?! type=)", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;$x_1$" in page


@pytest.fixture
def heavy(tiny_run, tmp_path, monkeypatch, undrawn):
    """The run with large pictures, in a folder of its own; of more than ten samples, some may be left out."""
    drawn = torch.randint(256, (40, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    monkeypatch.setattr(Recording, "pictures", lambda _, rows: drawn[rows])
    monkeypatch.setattr(thinning, "FEWEST", 10)
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    return load_run(tmp_path / "run")


def held(page):
    """The bundle's description in a page."""
    return json.loads(re.search(r'<script type="application/json" data-name="bundle.json">(.*?)</script>', page)[1])


def test_the_report_is_no_larger_than_asked_and_says_what_was_left_out(heavy, capsys):
    room, bare, few = 0.0, 0.0, 0.0
    for most in (10, None):
        page = write_report(heavy, max_mb=100, max_samples=most, show_progress=False).read_text()
        pictures = re.findall('<script type="text/plain" data-name="sheets/.*?</script>', page)
        few, bare, room = bare, (len(page.encode()) - sum(map(len, pictures))) / 1e6, len(page.encode()) / 1e6
    assert capsys.readouterr().err == ""
    assert sum(one["shown"] for one in held(page)["pictures"].values()) == 120
    seen = []
    for max_mb in (
        1.02 * room,
        0.7 * room,
        0.5 * room,
        bare + 0.01,
        bare - 0.1 * (bare - few),
        few + 0.6 * (bare - few),
    ):
        path = write_report(heavy, max_mb=max_mb)
        assert path.stat().st_size <= max_mb * 1e6
        page = path.read_text()
        told, text, notes = held(page), " ".join(Tags(page).text.split()), capsys.readouterr().err
        shown = {name: one["shown"] for name, one in told["pictures"].items()}
        listed = "; ".join(f"{name}: {count} of {told['samples']}" for name, count in shown.items() if count < 40)
        note = f"For size, the explorer leaves out pictures; its codes and numbers are of all samples here ({listed})."
        assert (note in text) == (f"Note: {note}\n" in notes) == (sum(shown.values()) < 120)
        note = f"The explorer shows {told['samples']} of 40 samples, of every class in proportion."
        assert (note in text) == (f"Note: {note}\n" in notes) == (told["samples"] < 40)
        seen.append((told["samples"], shown["clean"], sum(shown.values())))
    assert seen == sorted(seen, reverse=True)
    samples, clean, _ = zip(*seen, strict=True)
    assert clean[0] == 40 > clean[2] > 0 == clean[4]
    assert samples[3] == 40 > samples[4] > samples[5] > 10


def test_a_bound_that_holds_no_explorer_is_refused_with_what_can_be_done(heavy):
    before = (heavy.folder / "report.html").read_bytes()
    with pytest.raises(
        TooLargeError, match=r"`max_mb` is 0\.1, and figures, tables and script alone take 0\.\d+ MB; allow"
    ):
        write_report(heavy, max_mb=0.1, show_progress=False)
    page = write_report(heavy, max_mb=100, max_samples=10, show_progress=False).read_text()
    assert held(page)["samples"] == 10
    blocks = re.findall(r'<script type="(?:application|text)/.*?</script>', page)
    least = (len(page.encode()) - sum(map(len, blocks))) / 1e6
    told = (
        rf"`max_mb` is {least + 0.01:.6g}.*, figures, tables and script take 0\.\d+ MB of it, and the explorer does not"
    )
    with pytest.raises(TooLargeError, match=told) as error:
        write_report(heavy, max_mb=round(least + 0.01, 6), show_progress=False)
    assert f"allow more (`layerscope report {heavy.folder} --max-mb ...`), or look at" in str(error.value)
    with pytest.raises(ValueError, match="`max_mb` must be a number above 0; got 0"):
        write_report(heavy, max_mb=0, show_progress=False)
    (heavy.folder / "report.html").write_bytes(before)


def test_the_report_without_its_explorer_says_why(heavy):
    page = write_without_explorer(heavy, "it is <too> large.", show_progress=False).read_text()
    assert "This file is without the explorer: it is &lt;too&gt; large." in page
    assert "<script" not in page
    assert 'id="numbers"' in page


def test_inversions_that_are_left_out_are_told():
    layer = {"inverted": [False, True], "sheet": None}
    told = {"samples": 5, "total": 5, "pictures": {}, "decoding": {"mean": {"a": layer | {"sheet": "decoding-0-0"}}}}
    assert thinning.left_out(told) == []
    told["decoding"]["mean"]["b"] = layer | {"inverted": [False]}
    assert thinning.left_out(told) == []
    told["decoding"]["mean"]["c"] = layer
    assert thinning.left_out(told) == ["For size, the explorer shows no inversions."]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12345, "0.123"), (1234.5, "1,234"), (float("nan"), ""), (12.3456, "12.3"), (0.0, "0"), (0.00091, "0.00091")],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown


def test_the_style_of_the_report_touches_nothing_of_the_explorer(tiny_run):
    page = (tiny_run.folder / "report.html").read_text(encoding="utf-8")
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    selectors = [one.strip() for told in re.findall(r"([^{}]+)\{", style) for one in told.split(",")]
    assert len(selectors) > 20
    for one in selectors:
        assert one.startswith(("main", "body", ":root", "@media")), one
