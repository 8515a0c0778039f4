"""Tables of numbers at any width: blocks of the same rows, names in one line, nothing longer than a line."""

from __future__ import annotations

import io
import re

import pytest

from harness.report.table import Table, share
from harness.terminal import blocks, console

NAMES = ["digits/resnet+augmix+deepaugment+diffaug", "digits/vit", "a\u4e2d\u6587/model"]
TABLE = Table(
    "digits-c v1",
    ["", "model", "method", *(f"accuracy noise_{k}/5 (%)" for k in range(7))],
    [[f"{k}-9 ●", name, "dda-se", *(f"9{c}.{k} [86.2, 100.0]" for c in range(7))] for k, name in enumerate(NAMES)],
    "A caption.",
    names=3,
)


def lines(table: Table, room: int) -> list[str]:
    layout = blocks.layout(table, room)
    return [line for block in blocks.lines(layout) for line in [*block.heading, "─" * block.width, *block.rows]]


@pytest.mark.parametrize("room", [40, 60, 80, 100, 120, 160, 500])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_lost(room: int) -> None:
    shown = lines(TABLE, room)
    assert max(blocks._length(line) for line in shown) <= room
    text = "\n".join(shown)
    for row in TABLE.rows:
        for cell in row[3:]:
            assert text.count(blocks.INTERVAL.sub("", cell)) == 1
    assert ("[86.2, 100.0]" in text) == (room >= 120), "intervals go where they would take more than three blocks"


def test_each_block_repeats_the_names_of_the_rows() -> None:
    layout = blocks.layout(TABLE, 120)
    assert len(layout.blocks) == 3 and not layout.note and sum(map(len, layout.blocks)) == 7
    for block in blocks.lines(layout):
        assert [row.split()[2] for row in block.rows] == NAMES and block.heading[-1].split()[:2] == ["model", "method"]
    narrow = blocks.layout(TABLE, 100)
    width = int(re.search(r"width of (\d+) columns", narrow.note)[1])  # type: ignore[index]
    assert blocks.layout(TABLE, width).note == "" != blocks.layout(TABLE, width - 1).note


def test_a_line_ends_between_the_words_of_a_name() -> None:
    assert blocks.wrapped("digits/resnet+augmix+deepaugment", 20) == ["digits/resnet+", "augmix+deepaugment"]
    assert blocks.wrapped("mean accuracy (%)", 9) == ["mean", "accuracy", "(%)"]
    assert blocks.wrapped("x" * 7, 3) == ["xxx", "xxx", "x"] and blocks.wrapped("", 3) == [""]


def test_a_file_gets_the_same_lines_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    for width in (50, 300):
        monkeypatch.setattr(console, "out", console.Screen(file=io.StringIO(), width=width))
        texts.append(console.text(TABLE))
        assert console.out.file.getvalue() == "" and console.room() == width  # type: ignore[attr-defined]
    assert texts[0] == texts[1] and max(map(len, texts[0].splitlines())) <= console.PIPED


def test_formats_keep_their_bytes_in_a_pipe_and_steer_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal in (False, True):
        file = io.StringIO()
        monkeypatch.setattr(console, "out", console.Screen(file=file, force_terminal=is_terminal))
        console.write("a,\x1b[31mred\n" + "x" * 500 + "\n")
        assert file.getvalue() == f"a,{chr(92) + 'x1b' if is_terminal else chr(27)}[31mred\n" + "x" * 500 + "\n"


def test_sentences_of_all_captions_stand_once() -> None:
    one = Table("a", ["x"], [], "95 % intervals. Data 1, seed 0. ECE is biased.")
    other = Table("b", ["x"], [], "95 % intervals. Data 2, seed 0.")
    (first, second), shared = share([one, other])
    assert shared == "95 % intervals." and first.caption == "Data 1, seed 0. ECE is biased."
    assert second.caption == "Data 2, seed 0." and share([one]) == ([one], "") and share([]) == ([], "")


def test_spare_columns_go_before_intervals_do_and_a_sentence_names_them() -> None:
    table = Table("t", ["model", "accuracy", "error"], [["a" * 30, "90.0 [89.0, 91.0]", "10.0 [9.0, 11.0]"]], spare=[2])
    narrow, wide = blocks.layout(table, 55), blocks.layout(table, 80)
    assert narrow.table.header == ["model", "accuracy"] and narrow.table.rows[0][1] == "90.0 [89.0, 91.0]"
    assert len(narrow.blocks) == 1 and narrow.note.startswith("Left out, since the terminal is narrow: error;")
    assert wide.table == table and not wide.note
