"""The support matrix in docs/sdks.md equals the results of the sessions in noxfile.py."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.sdks import matrix
from tests.sdks.results import Result


def result(call: str, *transports: str, **changes: object) -> Result:
    given: dict[str, object] = {
        "sdk": "groq",
        "version": "1.0",
        "call": call,
        "transports": list(transports),
        "is_async": False,
        "streamed": False,
        "captured": True,
    }
    return Result(**(given | changes))  # type: ignore[arg-type]


def row(*results: Result) -> str:
    return matrix.table(results).removeprefix(matrix.HEAD)


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test page and one session's results for it."""
    path = tmp_path / "sdks.md"
    path.write_text(f"Before.\n{matrix.BEGIN}{matrix.END}After.\n")
    (tmp_path / "one.txt").touch()
    (tmp_path / "one.json").write_text(json.dumps([asdict(result("chat", "httpx"))]))
    monkeypatch.setattr(matrix, "DOCS", path)
    monkeypatch.setattr(matrix, "RESULTS", tmp_path)
    monkeypatch.setattr(matrix, "REQUIREMENTS", tmp_path)
    return path


def test_table_names_every_version_that_is_pinned():
    table = re.findall(r"^\| `([\w-]+)(?:\[\w+\])?` \| ([\d.]+) ", matrix.DOCS.read_text(), re.M)
    pins = {
        tuple(line.partition(" ")[0].split("=="))
        for path in matrix.REQUIREMENTS.glob("*.txt")
        for line in path.read_text().splitlines()
    }

    assert table
    assert set(table) <= pins


def test_sync_and_async_of_one_release_share_a_row():
    assert row(
        result("chat", "httpx"),
        result("chat_streamed", "httpx", streamed=True),
        result("achat", "httpx", "aiohttp", is_async=True),
        result("aembed", "httpx", "aiohttp", is_async=True),
    ) == ("| `groq` | 1.0 | httpx | httpx over aiohttp | chat, embed | chat | yes |\n")


def test_uncaptured_calls_are_named():
    assert row(result("chat"), result("embed", "httpx", captured=False)) == (
        "| `groq` | 1.0 | httpx, not seen | none | chat, embed | none | not embed |\n"
    )


def test_table_is_written_between_its_markers(docs: Path):
    assert matrix.main(["--check"]) == 1
    assert matrix.main([]) == 0
    assert matrix.main(["--check"]) == 0
    text = docs.read_text()
    assert text.startswith(f"Before.\n{matrix.BEGIN}\n{matrix.HEAD}| `groq`")
    assert text.endswith(f"\n{matrix.END}After.\n")


def test_other_results_fail_the_check_with_their_place(
    docs: Path, capsys: pytest.CaptureFixture[str]
):
    matrix.main([])
    old = json.dumps([asdict(result("chat", "requests"))])
    (matrix.RESULTS / "one.json").write_text(old)

    assert matrix.main(["--check"]) == 1
    out, err = capsys.readouterr()
    assert "+| `groq` | 1.0 | requests |" in out
    assert "make docs-sdks" in err


def test_session_without_results_is_an_error(docs: Path):
    (matrix.REQUIREMENTS / "two.txt").touch()

    with pytest.raises(SystemExit, match="Session two"):
        matrix.main(["--check"])


def test_lost_markers_are_an_error(docs: Path):
    docs.write_text("Before. After.\n")

    with pytest.raises(SystemExit, match="markers"):
        matrix.main([])
