"""The cost of a scan: `python -m benchmarks.scanner [PATH…]`.

Without paths, scan all Python code of this interpreter: the standard library and every installed
package. Print lines per second and peak memory, how both grow with the number of files, and the
time of a second scan, with the cache: of unchanged files, and of one changed file.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from usage_tracking.scanner import Options, scan

#: Files that change between two scans with the cache.
CHANGED = {
    "without_AI_calls": "def add(a, b):\n    return a + b\n",
    "with_AI_calls": "from openai import OpenAI\n\n\ndef ask(question):\n"
    "    return OpenAI().responses.create(model='m', input=question)\n",
}


def main() -> None:
    """Print the time of a scan, and what it found."""
    roots = sys.argv[1:] or [sysconfig.get_paths()[name] for name in ("stdlib", "purelib")]
    with tempfile.TemporaryDirectory() as directory:
        every = _gather(roots, Path(directory) / "all")
        print(
            f"{'files':>7} {'lines':>10} {'seconds':>8} {'lines/s':>8} {'peak MiB':>9} {'sites':>6}"
        )
        for share in (8, 4, 2, 1):
            part = Path(directory) / f"part{share}"
            for number, name in enumerate(every):
                if number % share == 0:
                    _copy_file(Path(directory) / "all" / name, part / name)
            _run(part, None)
        for kind, code in CHANGED.items():
            (part / f"{kind}.py").write_text(code)
        cache = Path(directory) / "cache"
        first, again = _run(part, cache), _run(part, cache)
        print(f"unchanged, from the cache: {again:.2f} s, {100 * again / first:.1f} %")
        for kind in CHANGED:
            file = part / f"{kind}.py"
            file.write_text("# changed\n" + file.read_text())
            changed = _run(part, cache)
            percent = 100 * changed / first
            print(f"one file {kind.replace('_', ' ')} changed: {changed:.2f} s, {percent:.1f} %")


def _gather(roots: list[str], target: Path) -> list[Path]:
    """Copy the files into directories that a scan does not skip; return their names there."""
    names = []
    for number, root in enumerate(roots):
        for file in sorted(Path(root).rglob("*.py")):
            inside = file.relative_to(root)
            if number == 0 and "site-packages" in inside.parts:
                continue
            parts = [part if part not in {"tests", "test"} else f"_{part}" for part in inside.parts]
            name = Path(f"root{number}", *parts)
            _copy_file(file, target / name)
            names.append(name)
    return names


def _copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _run(path: Path, cache: Path | None) -> float:
    """Scan in a new process, to measure its peak memory alone; return the seconds."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(child, str(path), cache))
    process.start()
    child.close()  # so that an error in the process ends `recv`
    seconds: float
    files, lines, seconds, peak, sites = parent.recv()
    process.join()
    print(
        f"{files:>7} {lines:>10,} {seconds:>8.1f} {lines / seconds:>8,.0f} {peak:>9,.0f} {sites:>6}"
    )
    return seconds


def _measure(pipe: Any, path: str, cache: Path | None) -> None:
    report = scan(Options(paths=(path,), include=("migrations",), cache=cache))
    peak = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    pipe.send((report.files, report.lines, report.seconds, peak / 1024, len(report.findings)))


if __name__ == "__main__":
    main()
