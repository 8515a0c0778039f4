"""Pages that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import RESULTS, few, hostile_page

from harness.evaluation.records.record import RunRecord
from harness.report.page.build import page


@pytest.fixture(scope="session")
def records(discovered: None) -> list[RunRecord]:
    return few()


@pytest.fixture(scope="session")
def html(records: list[RunRecord]) -> str:
    return page(records, RESULTS)


@pytest.fixture(scope="session")
def hostile_html(records: list[RunRecord]) -> str:
    return hostile_page([records[0], records[-1]])


@pytest.fixture(scope="session")
def file(html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def hostile_file(hostile_html: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    path.write_text(hostile_html, encoding="utf-8")
    return path
