"""Exports of a large log through gunicorn's default worker and its time-out of 30 s.

    DATABASE_URL=postgresql://... python -m benchmarks.exports [--rows N]

Fills the tables with N calls of 90 days and 1,000 users, and downloads each format from a server of
its own. Linux tells the peak memory and the CPU of the worker. The last line is an export during
which the database ends the connection. Use a database without data to keep: the tables are emptied
first.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.admin_pages import DAYS, LOGS, USERS, viewer
from benchmarks.reports import fill
from benchmarks.site import site

FORMATS = ("csv", "json", "xlsx")
BLOCK = 1 << 20


def main() -> None:
    """Print what each format costs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with site("benchmarks.admin_settings"):
        from django.db import connection

        fill(rows, users=USERS, days=DAYS)
        cookie = viewer().cookies["sessionid"].value
        print(f"{connection.vendor}: {rows:,} calls, gunicorn sync, time-out 30 s")
        for file_format in FORMATS:
            print(f"{file_format:5}{download(file_format, cookie, rows)}", flush=True)
        if connection.vendor == "postgresql":
            print(f"csv, killed:{download('csv', cookie, rows, beside=end_connections)}")


@dataclass(frozen=True)
class Download:
    """What a client saw of an export, and what it cost the worker."""

    status: int
    rows: int
    seconds: float
    first_byte: float
    size: int
    #: Bytes that were announced, and did not come.
    missing: int
    cost: str

    def __str__(self) -> str:
        rate = f"{self.rows / self.seconds:10,.0f} rows/s" if self.status == 200 else ""
        return (
            f" status {self.status}{rate} {self.seconds:6.1f} s (first byte after "
            f"{self.first_byte:.1f} s) {self.size:13,} bytes, {self.missing:,} missing, "
            f"{self.cost}"
        )


def download(
    file_format: str, cookie: str, rows: int, beside: Callable[[], None] | None = None
) -> Download:
    """Request an export from a new server, and run `beside` while it is written."""
    with server() as (address, master):
        client = http.client.HTTPConnection(*address)
        client.connect()
        # The server is ready, and its worker has imported the site.
        client.request("GET", "/admin/login/", headers={"Host": "testserver"})
        client.getresponse().read()
        client = http.client.HTTPConnection(*address)
        helper = threading.Thread(target=beside or (lambda: None))
        helper.start()
        started = time.perf_counter()
        client.request(
            "GET",
            f"{LOGS}export/{file_format}/",
            headers={"Host": "testserver", "Cookie": f"sessionid={cookie}"},
        )
        response = client.getresponse()
        first_byte = time.perf_counter() - started
        announced = int(response.headers.get("Content-Length", 0))
        size = 0
        while block := response.read1(BLOCK):
            size += len(block)
        seconds = time.perf_counter() - started
        cost = cost_of_worker(master)
        helper.join()
    return Download(response.status, rows, seconds, first_byte, size, announced - size, cost)


@contextmanager
def server() -> Iterator[tuple[tuple[str, int], int]]:
    """Run gunicorn with its default settings, and yield its address and the pid of its master."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"),
                *("--no-control-socket", "--log-level", "critical"),
                "django.core.wsgi:get_wsgi_application()",
            ],
            pass_fds=(listener.fileno(),),
        )
        try:
            yield listener.getsockname(), process.pid
        finally:
            process.terminate()
            process.wait()


def cost_of_worker(master: int) -> str:
    """Return the peak memory and the CPU of the only worker, if the system tells.

    Unlike the time, the CPU says little about what else the machine does.
    """
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(master)], capture_output=True, text=True, check=False
    )
    try:
        process = Path(f"/proc/{int(listed.stdout)}")
        status = (process / "status").read_text()
        ticks = sum(map(int, (process / "stat").read_text().split()[13:15]))
    except (OSError, ValueError):
        return "peak memory and CPU unknown"
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    memory = int(line.split()[1]) / 1024
    return f"peak memory {memory:.0f} MiB, CPU {ticks / os.sysconf('SC_CLK_TCK'):.1f} s"


def end_connections() -> None:
    """End the database connections of the server while it reads the rows of an export."""
    from django.db import connection

    terminated = 0
    while not terminated:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                'AND query LIKE \'%("ai_usage_log"."metadata")::text%\''
            )
            (terminated,) = cursor.fetchone()
    connection.close()


if __name__ == "__main__":
    main()
