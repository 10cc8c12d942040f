"""Tables that fit a terminal, whatever the script of the names."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management.base import OutputWrapper
from rich.cells import cell_len

from usage_tracking.contrib.rich import print_tables
from usage_tracking.management.tables import Table, plain, shown, terminal_width, write_tables
from usage_tracking.management.text_width import cut, pad, width_of

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
TABLE = Table(
    ("SECTION", "CALLS", "COST USD"),
    (
        ("客户聊天 (customer_chat)", "1,000", "0.001000"),
        (f"{FAMILY} Families", "2", "3.500000"),
        ("Cafe\u0301", "7", "1,234.500000"),
    ),
)
COLOURED = {"no_color": False, "force_color": False}


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def written(out: StringIO, **options: bool) -> str:
    write_tables([TABLE, TABLE], OutputWrapper(out), COLOURED | options, heading="Usage")
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("chat", 4),
        ("客户", 4),
        ("한국", 4),
        ("\u1112\u1161\u11ab", 2),  # Hangul in parts
        ("ＡＢ", 4),  # noqa: RUF001 -- wide letters
        ("e\u0301", 1),
        ("שלום", 4),
        ("\U0001f600", 2),
        (FAMILY, 2),
        ("\U0001f44d\U0001f3fd", 2),  # with a skin tone
        ("\U0001f1e9\U0001f1ea", 2),  # a flag
        ("\u2764\ufe0f", 2),
        ("1\ufe0f\u20e3", 2),
        ("\U0001f3c3\u200d\u2642\ufe0f", 2),
        ("می\u200cخواهم", 7),  # noqa: RUF001 -- Persian
    ],
)
def test_width_of_a_text(text: str, columns: int):
    assert width_of(text) == columns == cell_len(text)


def test_cut_text_has_whole_characters_and_an_ellipsis():
    assert cut("chat", 4) == "chat"
    assert cut("chatter", 4) == "cha…"
    assert cut("客户聊天", 6) == "客户…"
    assert cut(f"{FAMILY}{FAMILY}", 3) == f"{FAMILY}…"
    assert cut("ab   cd", 4) == "ab…"
    assert pad(cut("客户聊天", 6), 6) == "客户… "


def test_names_keep_joiners_and_lose_control_characters():
    assert shown(f"{FAMILY}\x1b[2J\n") == f"{FAMILY}\\x1b[2J\\n"


def test_columns_align_whatever_the_script():
    assert list(plain(TABLE)) == [
        "SECTION                   CALLS      COST USD",
        "客户聊天 (customer_chat)  1,000      0.001000",
        f"{FAMILY} Families                   2      3.500000",
        "Cafe\u0301                          7  1,234.500000",
    ]


def test_text_is_cut_to_fit_and_numbers_are_not():
    assert list(plain(TABLE, 34)) == [
        "SECTION        CALLS      COST USD",
        "客户聊天 (cu…  1,000      0.001000",
        f"{FAMILY} Families        2      3.500000",
        "Cafe\u0301               7  1,234.500000",
    ]


def test_widest_text_is_cut_first():
    table = Table(("MODEL", "CALLS", "REASON"), (("gpt-4o", "1", "r" * 30),), texts=(0, 2))

    assert list(plain(table, 30)) == [
        "MODEL   CALLS           REASON",
        "gpt-4o      1  rrrrrrrrrrrrrr…",
    ]


def test_narrow_terminal_has_a_line_for_each_cell():
    assert list(plain(TABLE, 20))[:4] == [
        "SECTION   客户聊天…",
        "CALLS     1,000",
        "COST USD  0.001000",
        "",
    ]
    assert "COST USD  1,234.500000" in plain(TABLE, 1)


def test_lines_to_paste_are_not_cut():
    line = "AI_USAGE_PRICES = {...}"

    assert list(plain(Table(("SETTINGS",), ((line,),), texts=()), 10)) == ["SETTINGS", line]


@pytest.mark.parametrize("columns", ["0", "40", "60", "200"])
def test_every_line_fits_the_terminal(columns: str, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    width = int(columns) or 1000

    for options in ({}, {"no_color": True}):
        lines = written(Terminal(), **options).splitlines()
        assert max(cell_len(line) for line in plain_text(lines)) <= width
        assert ("…" in "".join(lines)) == (columns == "40")
        assert "1,234.500000" in "".join(lines)


def plain_text(lines: list[str]) -> list[str]:
    return [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]


def test_pipe_is_not_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")

    assert terminal_width(OutputWrapper(StringIO())) is None
    lines = list(plain(TABLE))
    assert written(StringIO()) == "\n".join(["Usage", "", *lines, "", *lines, ""])


def test_rich_prints_the_same_lines_on_a_narrow_terminal():
    out = StringIO()
    print_tables([TABLE], out, 20)

    assert plain_text(out.getvalue().splitlines()) == ["", *plain(TABLE, 20)]


def test_default_terminal_shows_a_breakdown_as_a_table():
    titles = ("MODEL", "CALLS", "FAILED", "TOKENS", "COST USD", "AVG MS", "NO TOKENS", "NO PRICE")
    row = ("a-model-with-a-long-name (openai)", "1,510", "1", "12,645", "0.101000", "900", "0", "1")
    table = Table(titles, (row,))
    out = StringIO()
    print_tables([table], out, 80)

    _, head, _, line = plain_text(out.getvalue().splitlines())
    assert [head, line] == list(plain(table, 80))
    assert line.startswith("a-model-with-a-lo…  1,510 ")
