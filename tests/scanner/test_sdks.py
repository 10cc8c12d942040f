"""SDKs whose own code is in the scan."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.scanner.trees import copy_of_openai, scan_tree, write_tree
from usage_tracking.scanner import Options, scan

VIEWS = """
from openai import OpenAI

client = OpenAI()


def ask(question):
    return client.responses.create(model="m", input=question)
"""
#: A package of the site with a version and a call. It has one name that the SDK has too.
OWN = {
    "version.py": '__version__ = "1.0"\n',
    "__init__.py": "class Agent:\n    name = 'helpdesk'\n\n\nclass Desk:\n    agent = Agent()\n",
    "calls.py": VIEWS,
}


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def places(report) -> list[str]:
    return [f"{each.path}:{each.line} {each.status}" for each in report.findings]


@pytest.mark.parametrize("directory", ["openai", "vendor/openai"])
def test_copy_of_an_sdk_is_named_and_not_searched(site, directory):
    copy_of_openai(site / directory)

    report = scan_tree(site, {"shop/views.py": VIEWS})

    assert report.sdks == (directory,)
    assert report.files == 1
    assert places(report) == ["shop/views.py:7 captured"]


def test_calls_of_a_vendored_copy_are_found(site):
    copy_of_openai(site / "vendor" / "openai")
    code = VIEWS.replace("from openai", "from vendor.openai")

    assert places(scan_tree(site, {"shop/views.py": code})) == ["shop/views.py:7 captured"]


def test_installed_sdk_in_a_virtual_environment_is_not_searched(site):
    copy_of_openai(site / "venv" / "lib" / "site-packages" / "openai")

    report = scan_tree(site, {"shop/views.py": VIEWS}, include=("venvs",))

    assert report.sdks == ("venv/lib/site-packages/openai",)
    assert places(report) == ["shop/views.py:7 captured"]


def test_package_of_a_namespace_is_an_sdk(site):
    package = {
        "google/genai/__init__.py": "from .client import Client\n",
        "google/genai/version.py": '__version__ = "1.0"\n',
        "google/genai/client.py": "class Client: ...\n",
    }

    report = scan_tree(site, package | {"shop/views.py": VIEWS})

    assert report.sdks == ("google/genai",)


def test_several_paths_name_each_sdk(site):
    for name in ("first", "second"):
        copy_of_openai(site / name / "openai")

    report = scan(Options(paths=("first", "second")))

    assert report.sdks == ("first/openai", "second/openai")
    assert report.files == 0


@pytest.mark.parametrize("name", ["agents", "openai_tools", "openai"])
def test_own_package_of_the_site_is_searched(site, name):
    report = scan_tree(site, {f"{name}/{file}": text for file, text in OWN.items()})

    assert report.sdks == ()
    assert report.files == len(OWN)
    assert places(report) == [f"{name}/calls.py:7 captured"]


def test_package_inside_another_package_is_searched(site):
    copy_of_openai(site / "shop" / "openai")

    report = scan_tree(site, {"shop/__init__.py": "", "shop/openai/views.py": VIEWS})

    assert report.sdks == ()
    assert "shop/openai/views.py:7 captured" in places(report)


def test_package_without_a_version_is_searched(site):
    (copy_of_openai(site / "openai") / "_version.py").unlink()

    assert scan_tree(site, {"openai/views.py": VIEWS}).sdks == ()


def test_sdk_of_a_data_file_is_not_searched(site):
    write_tree(
        site,
        {
            "acme.toml": """
                imports = ["acme_ai"]
                [functions]
                "acme_ai:ask" = "chat"
                [[type]]
                name = "acme.client"
                made_by = ["acme_ai:Client"]
                calls = { ask = "chat" }
            """,
            "src/acme_ai/__init__.py": "class Client: ...\n\n\nasync def ask(question): ...\n",
            "src/acme_ai/version.py": "",
            "src/shop.py": "import acme_ai\nacme_ai.ask('x')\n",
        },
    )

    report = scan(Options(paths=("src",), extra=("acme.toml",)))

    assert report.sdks == ("src/acme_ai",)
    assert places(report) == ["src/shop.py:2 captured"]


def test_report_from_the_cache_does_not_name_a_removed_sdk(site):
    write_tree(site, {"src/views.py": VIEWS})
    copy_of_openai(site / "src" / "openai")
    options = Options(paths=("src",), cache=site / "cache")
    before = scan(options), scan(options)
    shutil.rmtree(site / "src" / "openai")
    after = scan(options)

    assert [each.sdks for each in before] == [("src/openai",)] * 2
    assert after.sdks == ()
    assert [before[1].from_cache, after.from_cache] == [True, True]


def test_paths_outside_of_the_working_directory_are_absolute(site, monkeypatch):
    copy_of_openai(site / "src" / "openai")
    (site / "elsewhere").mkdir()
    monkeypatch.chdir(site / "elsewhere")

    assert scan(Options(paths=(str(site / "src"),))).sdks == (os.fspath(site / "src" / "openai"),)
