"""Detect platforms on which the disk, and with it the outbox, may not outlive a process.

Some platforms freeze a process, or remove it together with its disk. With `AI_USAGE_WAIT`, each
call is committed to the database before the response to the visitor ends.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform that may remove a disk together with the process that wrote to it."""

    name: str
    #: An environment variable that the platform sets in every process.
    variable: str
    #: Whether the site can have a disk that outlives a process.
    has_volumes: bool


#: The first platform whose variable is set counts: Google and AWS run some of these on others.
PLATFORMS = (
    # Also set for services of Knative. https://docs.cloud.google.com/run/docs/container-contract
    Platform("Cloud Run", "K_SERVICE", has_volumes=False),
    Platform("Cloud Run", "CLOUD_RUN_JOB", has_volumes=False),
    # https://docs.cloud.google.com/appengine/docs/standard/python3/runtime
    Platform("App Engine", "GAE_ENV", has_volumes=False),
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    Platform("AWS Lambda", "AWS_LAMBDA_FUNCTION_NAME", has_volumes=False),
    # https://vercel.com/docs/environment-variables/system-environment-variables
    Platform("Vercel", "VERCEL", has_volumes=False),
    # https://devcenter.heroku.com/articles/dynos
    Platform("Heroku", "DYNO", has_volumes=False),
    # https://fly.io/docs/machines/runtime-environment/
    Platform("Fly.io", "FLY_APP_NAME", has_volumes=True),
    # https://render.com/docs/environment-variables
    Platform("Render", "RENDER", has_volumes=True),
    # https://docs.railway.com/reference/variables
    Platform("Railway", "RAILWAY_ENVIRONMENT_NAME", has_volumes=True),
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
    Platform("Amazon ECS", "ECS_CONTAINER_METADATA_URI_V4", has_volumes=True),
    # https://kubernetes.io/docs/tutorials/services/connect-applications-service/
    Platform("Kubernetes", "KUBERNETES_SERVICE_HOST", has_volumes=True),
)

#: File systems of container layers and of memory, which are removed with the container.
_OF_CONTAINER = frozenset({"aufs", "overlay", "ramfs", "rootfs", "squashfs", "tmpfs"})
#: File systems of other machines.
_OF_NETWORK = re.compile(r"nfs4?|cifs|smb3|ceph|glusterfs|lustre|fuse\..+")
#: The setting that has calls committed before the response ends.
REMEDY = "AI_USAGE_WAIT = 0.25"
_MOUNTS = Path("/proc/self/mountinfo")


def risk(directory: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return why events in `directory` may be lost with their process, "" if no reason is known.

    Only the platforms of this module are known. None stands for memory.
    """
    platform = next((each for each in PLATFORMS if environ.get(each.variable)), None)
    if platform is None:
        return ""
    this_is = f"this is {platform.name} ({platform.variable} is set)"
    if directory is None:
        return f"{this_is}, and the calls are in memory"
    filesystem = filesystem_of(directory)
    if platform.has_volumes:
        is_kept = bool(filesystem) and filesystem not in _OF_CONTAINER
    else:
        is_kept = _OF_NETWORK.fullmatch(filesystem) is not None
    if is_kept:
        return ""
    return f"{this_is}, and {directory} is on a file system of type {filesystem or 'unknown'}"


def filesystem_of(directory: Path) -> str:
    """Return the type of the file system of `directory`, which need not exist; "" if unknown.

    https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    try:
        # Directory names may be any bytes.
        lines = os.fsdecode(_MOUNTS.read_bytes()).split("\n")
        path = os.path.realpath(directory)
    except OSError:
        return ""
    found, longest = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        # Of two mounts at one path, the later hides the other.
        if len(mount) >= longest and (path + "/").startswith(mount.rstrip("/") + "/"):
            found, longest = after.split(" ")[0], len(mount)
    return found
