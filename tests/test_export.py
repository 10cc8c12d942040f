"""Exports of the admin's lists: whole or refused, with the filters, and without formulas."""

from __future__ import annotations

import csv
import datetime as dt
import errno
import gzip
import importlib.util
import io
import json
import shlex
import tempfile
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection, connections
from django.http.response import HttpResponseBase
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from import_export.fields import Field
from openpyxl import load_workbook
from xlsxwriter import Workbook

from tests.support.builders import NOON, make_log, make_user, save_log
from usage_tracking.admin import AIUsageLogAdmin
from usage_tracking.api.serializers import LogSerializer
from usage_tracking.contrib import import_export
from usage_tracking.exports import rows as exports_rows
from usage_tracking.exports import xlsx
from usage_tracking.exports.names import command, file_name
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

LOGS = "/admin/usage_tracking/aiusagelog/"
DAYS = "/admin/usage_tracking/aiusagetracking/"


def staff(*codenames: str) -> User:
    user = make_user("staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(staff("view_aiusagelog", "view_aiusagetracking"))
    return client


def body(answer: Any) -> bytes:
    assert answer.status_code == 200
    assert answer.streaming
    return b"".join(answer.streaming_content)


def rows_of(answer: HttpResponseBase, file_format: str) -> list[dict[str, Any]]:
    content = body(answer)
    if file_format == "csv":
        return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    if file_format == "json":
        rows: list[dict[str, Any]] = json.loads(content)
        return rows
    header, *rows = load_workbook(io.BytesIO(content)).active.iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in rows]


def once(function: Any) -> Any:
    """Return a `write` that calls `function` the first time."""
    calls = []

    def write(file: Any, data: Any) -> Any:
        calls.append(data)
        return function(file, data) if len(calls) == 1 else len(data)

    return write


FORMATS = ("csv", "json", "xlsx")
COLUMNS = {field.name for field in AIUsageLog._meta.fields}


def exports(viewer: Client, page: str = LOGS, query: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each format with its response."""
    for file_format in FORMATS:
        yield file_format, viewer.get(f"{page}export/{file_format}/{query}")


class TestFiles:
    """See tests/test_admin.py for permissions, on all pages."""

    def test_log_has_the_columns_of_the_table(self, viewer, subtests):
        ada = make_user("ada")
        log = save_log(user=ada, cost=Decimal("0.0000125"), metadata={"conversation": 7})

        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                (row,) = rows_of(answer, file_format)

                assert row["id"] == str(log.pk)
                assert row["username"] == "ada"
                assert str(row["user"]) == str(ada.pk)
                assert dt.datetime.fromisoformat(row["created_at"]) == log.created_at
                assert row["day"] == "2026-03-14"
                assert (row["section"], row["model_name"]) == ("chat", "gpt-4o")
                assert (str(row["prompt_tokens"]), str(row["total_tokens"])) == ("150", "230")
                assert Decimal(str(row["cost"])) == Decimal("0.0000125")
                metadata = row["metadata"]
                if file_format != "json":
                    metadata = json.loads(metadata)
                assert metadata == {"conversation": 7}
                assert row["error_message"] in (None, "")

    def test_daily_rows(self, viewer, subtests):
        save_log(user=make_user("ada"), cost=Decimal("0.25"))

        for file_format, answer in exports(viewer, DAYS):
            with subtests.test(file_format):
                (row,) = rows_of(answer, file_format)

                assert (row["date"], row["username"]) == ("2026-03-14", "ada")
                assert str(row["total_tokens"]) == "230"
                assert Decimal(str(row["total_cost"])) == Decimal("0.25")

    def test_unknown_is_not_zero(self, viewer, subtests):
        save_log(prompt_tokens=None, completion_tokens=None)

        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                (row,) = rows_of(answer, file_format)

                for name in ("user", "username", "prompt_tokens", "total_tokens", "cost"):
                    assert row[name] in (None, "")

    def test_keeps_to_filters_and_search(self, viewer, subtests):
        save_log(section="other", model_name="gpt-turbo")
        save_log(model_name="gpt-turbo", created_at=NOON + dt.timedelta(days=1))
        save_log(model_name="claude")
        log = save_log(model_name="gpt-turbo")

        query = "?section=chat&q=turbo&start_date=2026-03-14&end_date=2026-03-14"
        for file_format, answer in exports(viewer, query=query):
            with subtests.test(file_format):
                assert [row["id"] for row in rows_of(answer, file_format)] == [str(log.pk)]

    def test_empty_list_is_an_empty_file(self, viewer, subtests):
        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                assert rows_of(answer, file_format) == []

    def test_all_rows_come_once_and_newest_first(self, viewer, monkeypatch, subtests):
        monkeypatch.setattr(exports_rows, "SIZE", 3)
        logs = [save_log(created_at=NOON + dt.timedelta(days=n // 4)) for n in range(10)]
        logs.sort(key=lambda log: (log.created_at, log.pk), reverse=True)

        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                assert [row["id"] for row in rows_of(answer, file_format)] == [
                    str(log.pk) for log in logs
                ]

    def test_is_an_attachment(self, viewer, subtests):
        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                assert answer["Content-Disposition"] == (
                    f'attachment; filename="ai_usage_log_all.{file_format}"'
                )
                assert "no-store" in answer["Cache-Control"]
                body(answer)


class TestHostileTexts:
    FORMULAS = (
        "=1+1",
        '=HYPERLINK("http://evil.example","x")',
        "+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "＝1",  # noqa: RUF001
    )

    @pytest.mark.parametrize("file_format", ["csv", "xlsx"])
    def test_text_is_not_a_formula(self, viewer, file_format):
        texts = {
            str(
                save_log(
                    user=make_user(text),
                    section=text,
                    provider=text,
                    model_name=text,
                    error_message=text,
                    success=False,
                ).pk
            ): text
            for text in self.FORMULAS
        }

        rows = rows_of(viewer.get(f"{LOGS}export/{file_format}/"), file_format)

        assert {row["id"] for row in rows} == set(texts)
        bare = [
            (texts[row["id"]], name)
            for row in rows
            for name in ("username", "section", "provider", "model_name", "error_message")
            if not row[name].startswith("'")
        ]
        assert bare == []

    def test_line_breaks_and_quotes_make_no_row(self, viewer, subtests):
        text = 'a,"b"\r\nc;d'
        save_log(error_message=text, success=False)

        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                (row,) = rows_of(answer, file_format)

                exported = row["error_message"].replace("\r\n", "\n").replace("_x000D_", "")
                assert exported == text.replace("\r\n", "\n")

    def test_control_characters_break_no_workbook(self, viewer):
        save_log(error_message="bell \x07 and escape \x1b[31m" + "x" * 40_000, success=False)

        (row,) = rows_of(viewer.get(f"{LOGS}export/xlsx/"), "xlsx")

        assert row["error_message"].startswith("bell \ufffd and escape")

    def test_sheet_that_is_full_is_followed_by_another(self, viewer, monkeypatch):
        monkeypatch.setattr(xlsx, "SHEET_ROWS", 3)
        for _ in range(5):
            save_log()

        book = load_workbook(io.BytesIO(body(viewer.get(f"{LOGS}export/xlsx/"))))

        assert [sheet.max_row for sheet in book] == [3, 3, 2]
        assert {sheet["A1"].value for sheet in book} == {"id"}

    def test_text_that_looks_escaped_is_escaped_once(self, viewer):
        save_log(model_name="_x0041_")

        (row,) = rows_of(viewer.get(f"{LOGS}export/xlsx/"), "xlsx")

        assert row["model_name"] == "_x005F_x0041_"  # openpyxl does not read escapes

    def test_number_that_excel_would_round_is_a_text(self, viewer):
        save_log(prompt_tokens=10**15 - 1, completion_tokens=1)

        (row,) = rows_of(viewer.get(f"{LOGS}export/xlsx/"), "xlsx")

        assert (row["prompt_tokens"], row["total_tokens"]) == (10**15 - 1, str(10**15))

    def test_numbers_stay_numbers(self, viewer):
        save_log(cost=Decimal("0.5"))

        (row,) = rows_of(viewer.get(f"{LOGS}export/xlsx/"), "xlsx")

        assert row["cost"] == 0.5
        assert row["prompt_tokens"] == 150


def test_no_column_of_the_log_is_missing(viewer):
    save_log()

    (row,) = rows_of(viewer.get(f"{LOGS}export/json/"), "json")

    assert set(row) == COLUMNS | {"username"}


def test_api_and_admin_show_every_column_as_well():
    assert set(LogSerializer.Meta.fields) == COLUMNS | {
        "user_username",
        "user_email",
        "section_display",
    }
    fields = flatten_fieldsets(AIUsageLogAdmin.fieldsets)
    assert {name.removesuffix("_text") for name in fields} >= COLUMNS


class TestTransfer:
    def test_length_is_announced(self, viewer, subtests):
        save_log()

        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                assert answer["Content-Length"] == str(len(body(answer)))

    def test_no_statement_runs_while_a_client_downloads(self, viewer, monkeypatch):
        monkeypatch.setattr(exports_rows, "SIZE", 10)
        AIUsageLog.objects.bulk_create([make_log() for _ in range(100)])
        answer = viewer.get(f"{LOGS}export/csv/")

        with CaptureQueriesContext(connection) as queries:
            content = body(answer)

        assert (len(queries), content.count(b"gpt-4o")) == (0, 100)

    def test_statements_are_one_for_each_chunk(self, viewer, monkeypatch):
        monkeypatch.setattr(exports_rows, "SIZE", 10)
        AIUsageLog.objects.bulk_create([make_log(user=make_user(f"u{n}")) for n in range(95)])

        with CaptureQueriesContext(connection) as queries:
            body(viewer.get(f"{LOGS}export/csv/"))

        read = [query["sql"] for query in queries if "usage_details" in query["sql"]]
        # One more for the list of the same page.
        assert len(read) == 11
        # The session, the user, two for permissions, and the models for the list's filter.
        assert len(queries) == 11 + 5

    @pytest.mark.costly
    def test_memory_does_not_grow_with_the_rows(self, viewer, monkeypatch, subtests):
        monkeypatch.setattr(exports_rows, "SIZE", 100)

        def peak(number: int, file_format: str) -> int:
            AIUsageLog.objects.bulk_create([make_log() for _ in range(number)])
            tracemalloc.start()
            for _block in viewer.get(f"{LOGS}export/{file_format}/").streaming_content:
                pass
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return peak

        monkeypatch.setattr(import_export, "_IN_MEMORY", 1)
        for file_format in FORMATS:
            with subtests.test(file_format):
                AIUsageLog.objects.all().delete()
                peak(500, file_format)  # the first request also imports modules
                few = peak(500, file_format)
                assert peak(2_000, file_format) < 1.5 * few

    @pytest.mark.django_db(transaction=True)
    async def test_streams_on_an_event_loop(self, monkeypatch):
        monkeypatch.setattr(import_export, "_BLOCK", 100)
        client = AsyncClient()
        user = await User.objects.acreate(username="root", is_superuser=True, is_staff=True)
        await client.aforce_login(user)
        await AIUsageLog.objects.abulk_create([make_log() for _ in range(10)])

        answer = await client.get(f"{LOGS}export/csv/")

        assert answer.is_async
        blocks = [block async for block in answer]
        assert len(blocks) > 5
        assert b"".join(blocks).count(b"gpt-4o") == 10
        assert answer["Content-Length"] == str(len(b"".join(blocks)))
        answer.close()
        # Closes the connection of the thread that made the queries.
        await sync_to_async(connections.close_all)()

    def test_is_compressed_for_who_asks(self, viewer, settings, subtests):
        settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware", *settings.MIDDLEWARE]
        save_log()

        for file_format in FORMATS:
            with subtests.test(file_format):
                path = f"{LOGS}export/{file_format}/"
                plain = body(viewer.get(path))
                answer = viewer.get(path, headers={"Accept-Encoding": "gzip"})

                assert answer["Content-Encoding"] == "gzip"
                assert "Content-Length" not in answer
                # The time of the entries is in a workbook.
                assert len(gzip.decompress(body(answer))) == len(plain)


class TestFailures:
    def test_error_in_between_is_an_error_page(self, viewer, monkeypatch, subtests):
        monkeypatch.setattr(exports_rows, "SIZE", 3)
        AIUsageLog.objects.bulk_create([make_log() for _ in range(10)])
        viewer.raise_request_exception = False

        def fail_later(execute: Any, sql: str, *rest: Any) -> Any:
            if "created_at" in sql and "<=" in sql:
                raise OperationalError("server closed the connection unexpectedly")
            return execute(sql, *rest)

        for file_format in FORMATS:
            with subtests.test(file_format), connection.execute_wrapper(fail_later):
                answer = viewer.get(f"{LOGS}export/{file_format}/")

                assert answer.status_code == 500
                assert "attachment" not in answer.headers.get("Content-Disposition", "")

    def test_no_temporary_file_stays(self, viewer, monkeypatch, tmp_path, subtests):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(import_export, "_IN_MEMORY", 1)
        save_log()
        viewer.raise_request_exception = False

        def fail(*_: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        def is_late(file: Any, data: Any) -> Any:
            raise import_export.TooLongError

        for name, write in (("full disk", fail), ("late", is_late)):
            for file_format in FORMATS:
                with subtests.test(name, file_format=file_format), monkeypatch.context() as patch:
                    patch.setattr(import_export._TimedFile, "write", once(write))
                    answer = viewer.get(f"{LOGS}export/{file_format}/")

                    assert answer.status_code == (500 if write is fail else 422)
                    assert list(tmp_path.iterdir()) == []

    def test_workbook_is_not_completed_after_an_error(self, viewer, no_time, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(Workbook, "close", lambda book: pytest.fail("completed"))
        save_log()

        assert viewer.get(f"{LOGS}export/xlsx/").status_code == 422
        assert list(tmp_path.iterdir()) == []

    def test_time_to_compress_a_workbook_counts(self, viewer, monkeypatch):
        save_log()
        real = import_export.write_file

        def write_late(rows: Any, file: Any, file_format: str) -> None:
            list_of = list(rows.chunks)
            file._deadline = -1.0
            real(replace(rows, chunks=list_of), file, file_format)

        monkeypatch.setattr(import_export, "write_file", write_late)

        assert viewer.get(f"{LOGS}export/xlsx/").status_code == 422

    @pytest.mark.django_db(transaction=True)
    def test_no_transaction_lasts_as_long_as_the_export(self, viewer, monkeypatch, subtests):
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        save_log()
        found = []

        def look(execute: Any, sql: str, *rest: Any) -> Any:
            if "usage_details" in sql:
                found.append(connection.in_atomic_block)
            return execute(sql, *rest)

        with connection.execute_wrapper(look):
            viewer.get(LOGS)
            assert any(found)
            found.clear()
            body(viewer.get(f"{LOGS}export/csv/"))
        assert found
        assert not any(found)

    @pytest.fixture
    def no_time(self, monkeypatch) -> None:
        monkeypatch.setattr(import_export.UsageResource, "max_seconds", -1.0)

    def test_export_that_takes_too_long_names_the_command(self, viewer, no_time):
        ada = make_user("ada")
        save_log(user=ada)

        answer = viewer.get(
            f"{LOGS}export/xlsx/?start_date=2026-03-01&end_date=2026-03-31&user={ada.pk}&q=a"
        )

        assert answer.status_code == 422
        name = f"ai_usage_log_2026-03-01_2026-03-31_user-{ada.pk}_filtered.csv"
        line = (
            "python manage.py usage_report --by=call --from=2026-03-01 --to=2026-03-31 "
            f"--user={ada.pk} --format=csv --output={name}"
        )
        assert line in answer.text
        assert "The command has no option for: q." in answer.text

    def test_command_of_daily_rows(self, viewer, no_time):
        save_log(user=make_user("ada"))

        answer = viewer.get(f"{DAYS}export/json/")

        assert (
            "usage_report --by=day,user --from=1970-01-01 --format=json "
            "--output=ai_usage_tracking_all.json" in answer.text
        )

    def test_command_cannot_be_extended_by_a_filter(self, subtests):
        for text in ("a b", "a'; rm -rf ~; '", "$(id)", "`id`", "--output=/etc/passwd"):
            with subtests.test(text):
                line = command(AIUsageLog, {"section": text}, "csv").line

                assert f"--section={text}" in shlex.split(line)
                assert len(shlex.split(line)) == 8


class TestNames:
    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({}, "all"),
            ({"start_date": "2026-10-01", "end_date": "2026-10-31"}, "2026-10-01_2026-10-31"),
            ({"start_date": "2026-10-01"}, "from_2026-10-01"),
            ({"end_date": "2026-10-31"}, "until_2026-10-31"),
            ({"section": "chat", "user": "7", "p": "3"}, "all_section-chat_user-7"),
            ({"section": "../../etc/passwd"}, "all_section-etc-passwd"),
            ({"section": 'a"\r\nX-Injected: 1'}, "all_section-a-X-Injected-1"),
            ({"section": "é"}, "all_section-other"),
            ({"section": "a" * 300}, f"all_section-{'a' * 50}"),
            ({"q": "text"}, "all_filtered"),
            ({"success__exact": "0", "section": ""}, "all_filtered"),
        ],
    )
    def test_name_says_what_is_in_the_file(self, parameters, expected):
        assert file_name(AIUsageLog, parameters, "csv") == f"ai_usage_log_{expected}.csv"
        assert file_name(AIUsageTracking, parameters, "json") == (
            f"ai_usage_tracking_{expected}.json"
        )


class TestOwnResource:
    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class TeamResource(import_export.LogResource):
            team = Field(column_name="team", widget=import_export.AsItIs())

            def dehydrate_team(self, log: AIUsageLog) -> Any:
                return log.metadata.get("team")

        monkeypatch.setattr(import_export, "TeamResource", TeamResource, raising=False)
        path = "usage_tracking.contrib.import_export.TeamResource"
        monkeypatch.setattr(AIUsageLogAdmin, "export_resource", path)

    def test_added_column_stands_beside_the_same_rows(self, viewer, subtests, monkeypatch):
        monkeypatch.setattr(exports_rows, "SIZE", 2)
        for n in range(5):
            metadata = {"team": f"t{n}", "text": 'é "quoted"\n'}
            save_log(user=make_user(f"u{n}"), metadata=metadata, cost=Decimal(n))
        plain = {name: rows_of(answer, name) for name, answer in exports(viewer)}
        self.use(monkeypatch)

        for file_format, answer in exports(viewer):
            with subtests.test(file_format):
                found = rows_of(answer, file_format)

                assert {row.pop("team") for row in found} == {f"t{n}" for n in range(5)}
                assert found == plain[file_format]

    def test_more_time_alone_makes_no_export_slower(self, viewer, monkeypatch):
        class PatientResource(import_export.LogResource):
            max_seconds = 60.0

        def refuse(*_: Any) -> Any:
            raise AssertionError("all rows are loaded as instances")

        save_log(user=make_user("ada"))
        path = f"{import_export.__name__}.PatientResource"
        monkeypatch.setattr(import_export, "PatientResource", PatientResource, raising=False)
        monkeypatch.setattr(AIUsageLogAdmin, "export_resource", path)
        monkeypatch.setattr(import_export.LogResource, "export_resource", refuse)

        (row,) = rows_of(viewer.get(f"{LOGS}export/csv/"), "csv")

        assert row["username"] == "ada"


class TestRequests:
    def test_unknown_format_is_not_found(self, viewer, subtests):
        for text in ("exe", "csv%0D%0AX-Injected:1", "csv%22", "%00"):
            with subtests.test(text):
                answer = viewer.get(f"{LOGS}export/{text}/")

                assert answer.status_code == 404
                assert "X-Injected" not in answer.headers

    def test_invalid_filter_redirects_to_the_list_with_a_message(self, viewer):
        answer = viewer.get(f"{LOGS}export/csv/?start_date=yesterday", follow=True)

        assert "is not a valid period" in answer.text

    def test_list_links_to_the_exports_of_what_it_shows(self, viewer):
        save_log()

        answer = viewer.get(f"{LOGS}?section=chat")

        for name in ("csv", "xlsx", "json"):
            assert f'href="{LOGS}export/{name}/?section=chat"' in answer.text


def test_without_the_package_the_list_has_no_such_links(viewer, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *args: None if name == "import_export" else find_spec(name, *args),
    )

    answer = viewer.get(LOGS)

    assert answer.status_code == 200
    assert "Export " not in answer.text
