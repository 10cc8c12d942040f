"""The benchmarks run, their counts are correct, and the table in docs/ has their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.table import Row

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
#: Benchmarks with counts. The others measure times and sizes or take long. tests/processes has
#: the counts of `locks`.
COUNTED = ("statements", "delivery", "connections", "processes", "counts", "faults")


@pytest.mark.costly
@pytest.mark.postgres  # the same code measures more there
@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_correct_at_a_hundredth_of_the_size(name: str, database_url: str) -> None:
    rows = run.measure(name, database_url, 0.01)

    assert [str(row) for row in rows if row.invariant and not row.met] == []
    assert {row.what for row in rows} <= set(documented())


def documented() -> list[str]:
    """Return the first column of the table in docs/."""
    lines = DOCS.read_text().partition(run.BEGIN)[2].partition(run.END)[0].splitlines()
    return [line.split("|")[1].strip() for line in lines if line.startswith("| ")]


def test_unknown_name_is_an_error_that_lists_the_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run.main(["--only", "nothing of the kind"])

    assert ended.value.code == 2
    assert "--only must be part of one of capture, put, " in capsys.readouterr().err


def test_table_names_missed_targets_and_their_database() -> None:
    table = run.Table("Python 3")
    table.add([Row("put", "≤ 20 µs", "30 µs", met=False)], run.ONCE)
    table.add([Row("lost", "0", "0 of 5", met=True, invariant=True)], run.SQLITE)
    assert table.exit_code() == 0
    table.add([Row("lost", "0", "1 of 5", met=False, invariant=True)], run.POSTGRES)
    assert table.exit_code() == 1

    assert str(table).splitlines()[-2:] == [
        "| put | ≤ 20 µs | 30 µs | the same | **not met** |",
        "| lost | 0 | 0 of 5 | 1 of 5 | **not met** on PostgreSQL |",
    ]


def test_table_of_a_file_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    file.write_text(f"before\n{run.BEGIN}old\n{run.END}after\n")

    run.replace(file, "new\n")

    assert file.read_text() == f"before\n{run.BEGIN}new\n{run.END}after\n"
