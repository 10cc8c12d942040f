"""Which platforms may remove the disk with a process, and the warning about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from usage_tracking import checks, outbox
from usage_tracking.system import hosting

LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "site"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
#: The format in containers: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
MOUNTS = r"""
550 536 0:50 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/l
551 550 0:55 / /scratch rw - tmpfs tmpfs rw
552 550 0:56 /uid/volumes/kubernetes.io~empty-dir/outbox /srv/outbox rw - ext4 /dev/sda1 rw
553 550 0:57 / /mnt/files rw,relatime - nfs4 fs-1:/ rw
554 550 0:58 / /mnt/two\040words rw - fuse.gcsfuse bucket rw
555 550 0:59 / /srv/hidden rw - ext4 /dev/sdb rw
556 550 0:60 / /srv/hidden rw shared:1 - tmpfs tmpfs rw
557 551
"""


@pytest.fixture(autouse=True)
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(hosting, "_MOUNTS", tmp_path / "mountinfo")
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    ("directory", "filesystem"),
    [
        ("/app/.ai_usage_outbox", "overlay"),
        ("/", "overlay"),
        ("/scratch/outbox", "tmpfs"),
        ("/scratchpad", "overlay"),
        ("/srv/outbox", "ext4"),
        ("/srv/outbox/below", "ext4"),
        ("/mnt/two words/outbox", "fuse.gcsfuse"),
        ("/srv/hidden", "tmpfs"),
    ],
)
def test_file_system_of_the_nearest_mount(directory: str, filesystem: str) -> None:
    assert hosting.filesystem_of(Path(directory)) == filesystem


@pytest.mark.parametrize(
    ("environ", "directory", "is_reported"),
    [
        ({}, "/app", False),
        ({"DYNO": ""}, "/app", False),
        (POD, "/app", True),
        (POD, "/scratch/outbox", True),
        (POD, "/srv/outbox", False),
        (POD, "/mnt/files", False),
        (LAMBDA, "/scratch/outbox", True),
        (LAMBDA, "/srv/outbox", True),
        (LAMBDA, "/mnt/files/outbox", False),
        ({"K_SERVICE": "site"}, "/app", True),
        ({"K_SERVICE": "site"}, "/mnt/two words", False),
        ({"CLOUD_RUN_JOB": "site"}, "/app", True),
        ({"DYNO": "web.1"}, "/app", True),
        ({"GAE_ENV": "standard"}, "/scratch", True),
        ({"VERCEL": "1"}, "/scratch", True),
        ({"FLY_APP_NAME": "site"}, "/app", True),
        ({"FLY_APP_NAME": "site"}, "/srv/outbox", False),
        ({"RENDER": "true"}, "/app", True),
        ({"RAILWAY_ENVIRONMENT_NAME": "production"}, "/app", True),
        ({"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/1"}, "/app", True),
    ],
)
def test_platform_and_disk_decide(
    environ: dict[str, str], directory: str, is_reported: bool
) -> None:
    assert bool(hosting.risk(Path(directory), environ)) == is_reported


def test_memory_is_lost_with_the_process() -> None:
    assert hosting.risk(None, {}) == ""
    assert hosting.risk(None, POD) == (
        "this is Kubernetes (KUBERNETES_SERVICE_HOST is set), and the calls are in memory"
    )


def test_disk_of_an_unknown_type_is_reported(mounts: Path) -> None:
    mounts.unlink()

    assert hosting.risk(Path("/app"), POD) == (
        "this is Kubernetes (KUBERNETES_SERVICE_HOST is set), and /app is on a file system of "
        "type unknown"
    )


def test_check_hints_at_the_setting(
    settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "inline", lambda: False)
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    assert checks.check_outbox() == []

    monkeypatch.setenv("DYNO", "web.1")
    (warning,) = checks.check_outbox()
    assert (warning.id, warning.msg, warning.hint) == (
        "usage_tracking.W010",
        "Calls that are not in the database yet may be lost with their process: this is Heroku "
        f"(DYNO is set), and {tmp_path / 'outbox'} is on a file system of type overlay.",
        "AI_USAGE_WAIT = 0.25",
    )

    settings.AI_USAGE_WAIT = 0.25
    assert checks.check_outbox() == []


def test_memory_is_reported_with_other_problems(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "inline", lambda: False)
    del settings.BASE_DIR
    monkeypatch.setenv("DYNO", "web.1")

    assert [warning.id for warning in checks.check_outbox()] == [
        "usage_tracking.W004",
        "usage_tracking.W010",
    ]
