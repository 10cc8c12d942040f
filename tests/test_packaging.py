"""The distributed package: its metadata, its wheel, its pinned environment."""

from __future__ import annotations

import email
import email.message
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import django
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import noxfile

ROOT = Path(__file__).parent.parent
CI = (ROOT / ".ci" / "run").read_text()


def read_project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def read_pins() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def classified(prefix: str, classifiers: list[str] | None = None) -> set[str]:
    """Return the versions in the classifiers under `prefix`, by default in this project's."""
    versions = (
        entry.removeprefix(prefix) for entry in classifiers or read_project()["classifiers"]
    )
    return {version for version in versions if re.fullmatch(r"\d+\.\d+", version)}


def test_requirements_are_pinned_exactly_and_once():
    pins = read_pins()
    names = [canonicalize_name(pin.name) for pin in pins]

    assert [str(pin) for pin in pins if not re.fullmatch(r"==[^*]+", str(pin.specifier))] == []
    assert sorted(names) == sorted(set(names))


def test_requirements_satisfy_the_ranges_of_the_package():
    project = read_project()
    base = [Requirement(line) for line in project["dependencies"]]
    extras = [
        Requirement(line) for extra in project["optional-dependencies"].values() for line in extra
    ]
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in read_pins()}

    missing = [str(wanted) for wanted in base if canonicalize_name(wanted.name) not in pins]
    outside = [
        str(wanted)
        for wanted in (*base, *extras)
        if (pin := pins.get(canonicalize_name(wanted.name))) and pin not in wanted.specifier
    ]
    assert (missing, outside) == ([], [])


def test_base_install_has_no_http_library():
    needed: set[str] = set()
    waiting = [Requirement(line) for line in read_project()["dependencies"]]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and name not in needed:
            needed.add(name)
            waiting += [Requirement(line) for line in metadata(name).get_all("Requires-Dist") or ()]

    assert needed - {"tzdata"} == {"asgiref", "django", "sqlparse", "wrapt"}


@pytest.mark.process
def test_requirements_do_not_contradict_each_other():
    checked = pip("check")

    assert checked.returncode == 0, checked.stdout


def test_classifiers_agree_with_requires_python():
    specifier = Requirement(f"python{read_project()['requires-python']}").specifier
    pythons = classified("Programming Language :: Python :: ")

    assert "3.10" not in specifier
    assert all(version in specifier for version in pythons)
    assert min(pythons, key=lambda version: tuple(map(int, version.split(".")))) == "3.11"


def test_support_matrix_of_the_readme_equals_the_classifiers():
    # Its rows: | Python | 3.11, 3.12 | and | Django | 5.2, 6.1 (text in brackets is ignored) |
    readme = (ROOT / "README.md").read_text()
    section = readme.partition("## Support matrix")[2].partition("\n## ")[0]
    rows = {
        cells[0].strip(" *`"): re.sub(r"\(.*?\)", "", " ".join(cells[1:]))
        for line in section.splitlines()
        if len(cells := line.strip().strip("|").split("|")) > 1
    }

    assert set(re.findall(r"\d+\.\d+", rows["Python"])) == classified(
        "Programming Language :: Python :: "
    )
    assert set(re.findall(r"\d+\.\d+", rows["Django"])) == classified("Framework :: Django :: ")
    drivers = re.findall(r"psycopg2?", rows["PostgreSQL"])
    assert {"sqlite", *drivers} == set(noxfile.DATABASES)


def test_readme_starts_with_the_requirements():
    readme = (ROOT / "README.md").read_text()
    needed = re.search(r"Python (\S+) or newer, Django (\S+) or newer", readme)

    assert needed is not None
    assert f">={needed[1]}" == read_project()["requires-python"]
    assert needed[2] == oldest_django()


def oldest_django() -> str:
    wanted = [Requirement(line) for line in read_project()["dependencies"]]
    (specifier,) = next(each.specifier for each in wanted if each.name == "Django")
    return specifier.version


def test_sessions_of_the_tests_equal_the_classifiers():
    pythons = {python for pythons in noxfile.SUPPORTED.values() for python in pythons}

    assert pythons == classified("Programming Language :: Python :: ")
    # The session `floor` uses the oldest supported Django.
    assert {oldest_django(), *noxfile.SUPPORTED} == classified("Framework :: Django :: ")
    # Each Django with each Python version in Django's own classifiers.
    its_own = metadata("django").get_all("Classifier")
    runs_on = classified("Programming Language :: Python :: ", its_own) & pythons
    assert set(noxfile.SUPPORTED[".".join(map(str, django.VERSION[:2]))]) == runs_on


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    built = pip("wheel", str(ROOT), "--no-deps", "--wheel-dir", str(directory))
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = directory.glob("*.whl")
    return path


@pytest.mark.costly
def test_wheel_contains_the_package_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "usage_tracking").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {
        "usage_tracking/py.typed",
        "usage_tracking/migrations/0001_ai_usage.py",
        "usage_tracking/static/usage_tracking/usage.css",
        "usage_tracking/templates/usage_tracking/my_usage.html",
    } <= names
    assert any(name.endswith(".json") for name in names)
    assert modules <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "usage_tracking"
    }
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def description(wheel: Path) -> str:
    payload = metadata_of(wheel).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def targets(text: str) -> list[str]:
    return re.findall(r"\]\((\S+?)\)", text)


@pytest.mark.costly
def test_page_on_pypi_has_no_relative_link(wheel: Path):
    text, readme = description(wheel), (ROOT / "README.md").read_text()

    assert [target for target in targets(text) if not target.startswith("https://")] == []
    # Code is as it stands.
    assert re.findall("```.*?```", text, re.DOTALL) == re.findall("```.*?```", readme, re.DOTALL)
    hooks = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"][
        "hooks"
    ]
    if not hooks["custom"]["home"]:
        assert "![" not in text
        named = set(re.findall(r"\(`([\w./-]+\.md)`\)", text))
        assert {target.partition("#")[0] for target in targets(readme) if ".md" in target} == named
        assert [name for name in named if not (ROOT / name).exists()] == []
        assert metadata_of(wheel).get_all("Project-URL") is None


@pytest.mark.process
@pytest.mark.costly
def test_page_on_pypi_links_files_of_its_home(tmp_path: Path):
    for name in ("README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "usage_tracking", tmp_path / "usage_tracking")
    project = (ROOT / "pyproject.toml").read_text()
    home = "https://example.org/acme/usage_tracking"
    changed = re.sub(r'^home = ".*"$', f'home = "{home}/"', project, flags=re.MULTILINE)
    (tmp_path / "pyproject.toml").write_text(changed)
    built = pip("wheel", str(tmp_path), "--no-deps", "--wheel-dir", str(tmp_path / "dist"))
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")

    text = description(wheel)
    links = targets(text)

    assert [link for link in links if not link.startswith("https://")] == []
    assert f"![The dashboard in the admin]({home}/raw/HEAD/docs/dashboard-light.png)" in text
    of_home = [link.removeprefix(home) for link in links if link.startswith(home)]
    files = [re.sub("^/(?:blob|raw)/HEAD/|#.*", "", link) for link in of_home]
    assert len(files) == len(targets((ROOT / "README.md").read_text()))
    assert [name for name in files if not (ROOT / name).is_file()] == []
    assert dict(url.split(", ") for url in metadata_of(wheel).get_all("Project-URL", [])) == {
        "Homepage": home,
        "Documentation": f"{home}/tree/HEAD/docs",
        "Source": home,
        "Issues": f"{home}/issues",
        "Changelog": f"{home}/blob/HEAD/CHANGELOG.md",
    }


def test_build_is_checked_in_ci():
    assert "@nox.session\ndef dist(" in (ROOT / "noxfile.py").read_text()
    (parts,) = re.findall(r"^printf '%s\\n' (.*?)\| xargs", CI, re.DOTALL | re.MULTILINE)
    assert "dist" in parts.replace("\\\n", " ").split()


@pytest.mark.process
@pytest.mark.costly
def test_wheel_runs_with_its_base_dependencies_only(wheel: Path, tmp_path: Path):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    base = [
        str(pin)
        for pin in read_pins()
        if canonicalize_name(pin.name)
        in {canonicalize_name(Requirement(line).name) for line in read_project()["dependencies"]}
    ]
    installed = pip("--python", str(python), "install", "--quiet", str(wheel), *base)
    assert installed.returncode == 0, installed.stderr

    ran = subprocess.run(
        [python, "-W", "error", "-c", MINIMAL_SITE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (0, "no optional package\n0.0000705\n"), ran.stderr


#: Old releases that sites run, and packages that limit other packages.
OLD_SITE = [
    "Django==5.1.5",
    "djangorestframework==3.14.0",
    "django-filter==23.5",
    "wrapt==1.16.0",
    "deprecated==1.2.14",  # wrapt<2
    "anyio==3.7.1",
    "httpx==0.27.0",
    "pydantic==1.10.27",
]


@pytest.mark.process
@pytest.mark.costly
@pytest.mark.parametrize(
    ("site", "beside", "added"),
    [
        pytest.param(OLD_SITE, [], set(), id="old releases"),
        # See docs/api.md: the latest REST framework requires a newer Django.
        pytest.param(
            ["Django==5.1.5"],
            ["Django~=5.1.0"],
            {"djangorestframework", "django-filter", "wrapt"},
            id="no REST framework",
        ),
    ],
)
def test_installing_changes_nothing_else(
    wheel: Path, tmp_path: Path, site: list[str], beside: list[str], added: set[str]
):
    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False)
    python = str(environment / "bin" / "python")

    def install(*wanted: str) -> set[str]:
        installed = pip("--python", python, "install", "--quiet", *wanted)
        assert installed.returncode == 0, installed.stderr
        return set(pip("--python", python, "freeze").stdout.splitlines())

    before = install(*site)
    after = install(f"{wheel}[api]", *beside)

    assert before - after == set()
    names = {re.split("==| @ ", line)[0].lower() for line in after - before}
    assert names == {"django-usage-tracking", *added}
    assert pip("--python", python, "check").returncode == 0
    ran = subprocess.run(
        [python, "-W", "error", "-c", SITE_WITH_API],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (0, "201 1\n"), ran.stderr


SITE = """
import os
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x",
    USE_TZ=True,
    BASE_DIR=os.getcwd(),
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "usage_tracking",
    ],
    MIDDLEWARE=["usage_tracking.middleware.AIUsageMiddleware"],
)
django.setup()
"""

SITE_WITH_API = (
    SITE
    + """
settings.ROOT_URLCONF = "usage_tracking.api.urls"

from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.management import call_command
from django.test.utils import setup_test_environment
from rest_framework.test import APIClient

setup_test_environment()  # rows are there when they are read
assert run_checks() == []
call_command("migrate", verbosity=0)
client = APIClient()
client.force_authenticate(get_user_model().objects.create(username="ann"))
recorded = client.post("/usage/logs/", {"section": "chat"}, format="json")
print(recorded.status_code, client.get("/usage/logs/").json()["count"])
"""
)

MINIMAL_SITE = (
    SITE
    + """
import importlib.util

optional = [
    "anthropic", "celery", "genai_prices", "google", "httpx", "httpx2", "openai", "psycopg",
    "pydantic", "requests", "rest_framework",
]
assert not [name for name in optional if importlib.util.find_spec(name)]
print("no optional package")

from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.management import call_command
from usage_tracking import track_ai_usage
from usage_tracking.models import AIUsageLog

assert run_checks() == []
call_command("migrate", verbosity=0)
user = get_user_model().objects.create(username="ann")
track_ai_usage(user, "chat", 150, 80, model_name="gpt-4o-mini")
print(AIUsageLog.objects.get().cost.normalize())
"""
)


def pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
