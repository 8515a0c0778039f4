"""The page as text: parsed without a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pages import MARKUP, RESULTS

from harness.evaluation.records.record import RunRecord
from harness.report.escape import printable
from harness.report.page.build import page
from harness.report.page.parts import BoardRow, BoardTable, Cell, Page, Section, cell
from harness.report.page.published_tables import published_tables
from harness.report.page.render import render, sortable
from harness.report.published.mapping import Grid, Measurement
from harness.report.published.paper_tables import Paper, PaperTable

EMPTY = {"meta", "link", "br", "wbr", "img", "input", "path", "circle", "rect", "line", "use", "polyline", "polygon"}


class Parsed(HTMLParser):
    """The elements and texts of a page; raises AssertionError where an element is not closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def parsed(html: str) -> Parsed:
    return Parsed(html)


@pytest.fixture(scope="module")
def hostile(hostile_html: str) -> Parsed:
    return Parsed(hostile_html)


def ids(parsed: Parsed) -> list[str]:
    return [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]


@pytest.mark.parametrize("kind", ["parsed", "hostile"])
def test_ids_are_unique_and_references_lead_to_them(kind: str, request: pytest.FixtureRequest) -> None:
    parsed: Parsed = request.getfixturevalue(kind)
    names = ids(parsed)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][\w.-]*", name) for name in names)
    for _, attributes in parsed.elements:
        for reference in ("aria-labelledby", "aria-describedby"):
            assert set(attributes.get(reference, "").split()) <= set(names)
        assert attributes.get("href", "#top")[1:] in names or attributes["href"] == "data:,"


def test_every_chart_has_a_title_and_its_data(parsed: Parsed, html: str) -> None:
    figures = parsed.all("figure")
    assert len(figures) >= 5
    for block in html.split("<figure ")[1:]:
        figure = block.partition("</figure>")[0]
        assert re.search(r"<h3[^>]*>[^<]+</h3>", figure)
        assert figure.count("<svg") and "<title" in figure
        assert re.search(r"<tbody>\s*<tr>\s*<td>", figure)


def test_the_page_asks_nothing_of_the_network(parsed: Parsed, hostile: Parsed, html: str) -> None:
    policy = next(m["content"] for m in parsed.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe-inline'; script" in policy and "script-src 'sha256-" in policy
    for tag, attributes in parsed.elements + hostile.elements:
        assert not {"srcset", "action", "formaction", "data", "xlink:href"} & attributes.keys(), tag
        assert attributes.get("src", "data:").startswith("data:")
        assert not re.search(r"url\((?!#)|@import", attributes.get("style", ""))
    style = html.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_the_script_and_the_page_are_small(html: str) -> None:
    script = html.partition("<script>")[2].partition("</script>")[0]
    assert 5_000 < len(script.encode()) < 10_000
    assert len(html.encode()) < 650_000


def test_hostile_texts_are_texts(hostile: Parsed, hostile_html: str) -> None:
    assert len(hostile.all("script")) == len(hostile.all("style")) == 1
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in hostile.elements}
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    shown = "".join(hostile.texts)
    for text in MARKUP:
        assert printable(text) in shown
    assert not re.search("[\x00-\x08\u202e\u2028\ud800-\udfff]", hostile_html)


def test_the_same_records_give_the_same_bytes(records: list[RunRecord], html: str) -> None:
    assert page(list(reversed(records)), RESULTS) == html


def test_a_board_without_its_sample_tables_is_still_there(records: list[RunRecord], tmp_path: Path) -> None:
    moved = [replace(entry, path=tmp_path / "digits-c" / entry.path.name) for entry in records if entry.path]
    html = page(moved, RESULTS)
    for entry in records:
        assert entry.key in html
    assert "without ranks" in html


def test_published_numbers_stand_apart_and_have_no_rank(html: str) -> None:
    section = html.partition('<section id="published"')[2].partition("</section>")[0]
    block = "".join(re.findall(r'<table class="sorts.*?</table>', section, re.DOTALL))
    assert "43.60" in block
    assert block.count('<tr class="published">') == block.count("<tr") - block.count("<thead>")
    assert "top" not in re.findall(r'<tr class="([^"]*)"', block)


def test_measured_numbers_stand_beside_published_ones(records: list[RunRecord]) -> None:
    grid = Grid(
        Measurement(suite="digits-c", version=1, metric="mean_accuracy", condition="mean", method="default"),
        {"small": Measurement(model="digits/resnet"), "large": Measurement(model="elsewhere")},
        {"default": Measurement()},
    )
    paper = PaperTable("classifier", ["default"], {"small": [70.0], "large": [80.0]}, measured_by=grid)
    (entry,) = published_tables([Paper("Someone", {"digits-c, accuracy (%)": paper})], records)
    small, large = (row.cells[1] for row in entry.shown.rows)
    assert entry.benchmark == "digits-c" and all(row.published and not row.top for row in entry.shown.rows)
    assert small.text.startswith("70.00 → 74.4") and large.text == "80.00"
    assert small.value == 70
    assert list(entry.measured) == [("small", "default")]


def test_cells_sort_by_their_numbers() -> None:
    assert cell("94.4 [93.8, 95.1]").value == 94.4
    assert cell("resnet50").value is None
    assert cell("3 of 4").value == 3
    assert sortable(Cell("94.4 [93, 95]", 0.944, (0.93, 0.95))) == "0.944 0.93 0.95"


def test_parts_of_one_name_are_numbered() -> None:
    table = BoardTable("a", "A", ["x"], [BoardRow([Cell("1")])])
    section = Section("s", "S", tables=[table, table])
    names = ids(Parsed(render(Page("P", [], [], {"G": [section, section]}))))
    assert {"a", "a--no2", "a--no4", "s", "s--no2"} <= set(names)
    assert len(set(names)) == len(names)
