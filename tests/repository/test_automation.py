"""Holds the automation to itself: what it runs is pinned, and what is pinned is kept up to date."""

import json
import re
import tomllib
from pathlib import Path

import yaml

from qsticky import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RENOVATE = json.loads((ROOT / ".github" / "renovate.json").read_text())
IMAGE = re.compile(r"\bimage: ([\w./-]+):([\w.-]+)")


def used() -> set[tuple[str, str]]:
    """Return what the workflows use: each action or workflow, and its comment."""
    uses = re.compile(r"^ *(?:- )?uses: (\S+)(?: # (\S+))?$", re.MULTILINE)
    found = [uses.findall(workflow.read_text()) for workflow in WORKFLOWS]
    assert all("uses:" not in uses.sub("", workflow.read_text()) for workflow in WORKFLOWS)
    return {use for uses_of_one in found for use in uses_of_one}


def files_with_images() -> list[Path]:
    """Return what people copy from that names an image."""
    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*")]
    return [file for file in files if file.is_file() and IMAGE.search(file.read_text())]


def test_each_action_is_pinned_by_its_commit_and_says_its_version() -> None:
    for action, version in used():
        if action.startswith("$/"):
            assert (ROOT / action.removeprefix("$/")).is_file(), action
        else:
            assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r"v\d+\.\d+\.\d+", version), action


def test_an_action_has_the_same_commit_everywhere() -> None:
    actions = [action.partition("@")[0] for action, _ in used()]
    assert len(actions) == len(set(actions))


def test_the_tests_run_on_each_python_that_is_supported() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == [
        version
        for classifier in project["classifiers"]
        for version in re.findall(r":: (3\.\d+)$", classifier)
    ]


def test_each_image_that_a_file_names_is_kept_up_to_date() -> None:
    managers = [RENOVATE["docker-compose"], RENOVATE["kubernetes"], *RENOVATE["customManagers"]]
    patterns = [pattern[1:-1] for manager in managers for pattern in manager["managerFilePatterns"]]
    for file in files_with_images():
        name = file.relative_to(ROOT).as_posix()
        assert any(re.search(pattern, name) for pattern in patterns), name


def test_our_own_image_is_named_by_the_version_of_the_package() -> None:
    label = re.search(r'image\.version="(.+?)"', (ROOT / "Dockerfile").read_text())
    assert label is not None
    assert label[1] == __version__
    for file in files_with_images():
        for image, tag in IMAGE.findall(file.read_text()):
            assert image != "ghcr.io/qsticky/qsticky" or tag == __version__, file


def test_reports_of_a_mistake_ask_for_what_is_needed_to_find_it() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text())
    required = {
        field["id"] for field in form["body"] if field.get("validations", {}).get("required")
    }
    assert {"check", "version"} <= required
