"""The lists of CONTRIBUTING.md can be followed, and their checks find a step that is left out.

`docs/worked-example.md` has the code of each step. The tests make these edits on copies of the tree
and run the project's own tests there.
Covers: CONTRIBUTING.md, docs/worked-example.md
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.documents.citations import ROOT
from tests.docs.edits import Edit, edits_under

PAGE = "CONTRIBUTING.md"
EXAMPLE = "docs/worked-example.md"
COPIED = ("domain", "projections", "api", "scripts", "tests", "docs", "pyproject.toml", "Makefile")
LISTS = ("fact", "command", "view", "read route", "page")
"""In this order, because each part of the example uses the ones before it."""

PERMISSIONS = "tests/api/auth/test_permissions.py::test_the_table_says_what_is_expected_here"
REFERENCE = "tests/docs/test_reference.py::test_the_reference_is_up_to_date"
PROBLEMS = "tests/api/errors/test_problem_details.py"

CHECKS: dict[str, tuple[str, ...]] = {
    "fact": (
        *("tests/domain/test_events.py", "tests/golden", "tests/projections/test_catalogue.py"),
        *("tests/docs/test_events.py", "tests/docs/test_glossary.py", "tests/docs/test_clauses.py"),
    ),
    "command": (
        *("tests/domain/test_commands.py", "tests/domain/test_command_spec.py"),
        *("tests/domain/steps/test_exam_incidents.py", "tests/api/routes/test_routers.py"),
        f"{PROBLEMS}::test_every_error_class_has_a_status",
        f"{PROBLEMS}::test_every_error_has_a_chinese_and_an_english_text",
        *(PERMISSIONS, REFERENCE, "tests/docs/test_clauses.py"),
    ),
    "view": ("tests/projections/test_catalogue.py", "tests/projections/exam_incidents"),
    "read route": (
        *("tests/api/routes/test_routers.py", "tests/api/test_openapi.py", PERMISSIONS, REFERENCE),
        "tests/api/routes/test_exam_incidents.py",
        "tests/api/routes/test_reads.py::test_health_reports_every_view",
    ),
    "page": ("tests/api/web/test_i18n.py", "tests/api/web/test_exam_incidents.py"),
}
"""The tests that hold the steps of a list."""

OF_THE_TREE = ("tests/test_architecture.py", "tests/test_tidy.py", "tests/test_words.py")


@dataclass(frozen=True)
class Step:
    """One numbered step. files: patterns of the paths it names. runs: its command, if any."""

    number: int
    files: tuple[re.Pattern[str], ...]
    runs: str | None
    optional: bool

    def names(self, path: str) -> bool:
        """Whether the step names a path; `<view>` in a name may be anything."""
        return any(pattern.fullmatch(path) for pattern in self.files)


def steps_of(name: str) -> list[Step]:
    """The numbered list under `Add a <name>`."""
    section = (ROOT / PAGE).read_text("utf-8").partition(f"\n## Add a {name}\n")[2]
    section = section.partition("\n## ")[0]
    items = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |\Z)", section, re.MULTILINE | re.DOTALL)
    return [_step(int(number), text) for number, text in items]


def _step(number: int, text: str) -> Step:
    # A path after "of" is an alternative that the step mentions, not a part of it.
    paths = re.findall(r"(?<!of )`([\w<>./]+/[\w<>./]+\.\w+)`", " ".join(text.split()))
    patterns = tuple(
        re.compile(re.sub(r"<\w+>", "[^/]+", path.replace(".", r"\."))) for path in paths
    )
    runs = re.search(r"Run `([^`]+)`", text)
    return Step(number, patterns, runs and runs[1], text.startswith("Optional"))


def edits_of(name: str) -> list[Edit]:
    return edits_under(EXAMPLE, f"A {name}")


@pytest.mark.parametrize("name", LISTS)
def test_a_list_names_the_files_that_the_example_edits(name: str) -> None:
    steps = [step for step in steps_of(name) if step.runs is None]
    assert [step.number for step in steps_of(name)] == list(range(1, len(steps_of(name)) + 1))
    edited = {edit.path for edit in edits_of(name)}
    unnamed = {path for path in edited if not any(step.names(path) for step in steps)}
    assert not unnamed, "edited by the example, but in no step"
    unused = {
        step.number
        for step in steps
        if not step.optional and not any(step.names(path) for path in edited)
    }
    assert not unused, "steps for which the example has no code"


# --- the lists, followed on copies of the tree ----------------------------------------------------


def in_tree(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python module or script on a copy of the tree."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def run(tree: Path, command: str) -> None:
    """Run a command that a step names: a target of the Makefile, or a module."""
    kind, name = command.split(maxsplit=1)
    for _, *arguments in recipe(name) if kind == "make" else [command.split()]:
        done = in_tree(tree, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def recipe(target: str) -> list[list[str]]:
    """The commands of a target of the Makefile, each the interpreter and its arguments."""
    rule = (ROOT / "Makefile").read_text("utf-8").partition(f"\n{target}:")[2].partition("\n\n")[0]
    return [line.split() for line in rule.splitlines()[1:]]


def make_edits(tree: Path, name: str, *, without: str | None = None) -> None:
    """Make the edits of a list; without: a file of the step to leave out."""
    left_out = [step for step in steps_of(name) if without and step.names(without)]
    assert bool(left_out) == bool(without), without
    edits = [e for e in edits_of(name) if not any(step.names(e.path) for step in left_out)]
    for edit in edits:
        edit.apply(tree)
    edited = sorted({e.path for e in edits if e.path.endswith(".py")})
    # What `make format` does, but for the edited files only.
    for tool in (("format",), ("check", "--fix")):
        done = in_tree(tree, "-m", "ruff", *tool, "--quiet", *edited)
        assert done.returncode == 0, done.stdout + done.stderr


FAILED = (1, 2, 4)
"""Statuses of pytest: a test failed; a test module, or a conftest, could not be imported."""


def checked(tree: Path, targets: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return in_tree(tree, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *targets)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """A copy of the tree, then one more after each list that was followed."""
    folder = tmp_path_factory.mktemp("contributing")
    made = [folder / "0"]
    made[0].mkdir()
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, made[0] / name)
    for name in LISTS:
        tree = shutil.copytree(made[-1], folder / str(len(made)))
        make_edits(tree, name)
        for step in steps_of(name):
            if step.runs:
                run(tree, step.runs)
        made.append(tree)
    yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LISTS)
def test_the_checks_pass_after_every_step_of_a_list(trees: list[Path], name: str) -> None:
    done = checked(trees[LISTS.index(name) + 1], CHECKS[name])
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_style_tests_find_nothing_in_the_example(trees: list[Path]) -> None:
    done = in_tree(trees[-1], "-m", "pytest", "-q", "-p", "no:cacheprovider", *OF_THE_TREE)
    assert " passed" in done.stdout, done.stdout[-4000:] + done.stderr[-2000:]
    # Findings in other files of the tree are for the tests themselves to report.
    found = [line for line in done.stdout.splitlines() if "incident" in line.lower()]
    assert not found, "\n".join(found)


def changed(before: Path, now: Path) -> set[str]:
    """Paths of the files that differ between two trees."""
    names = [
        str(path.relative_to(now))
        for path in now.rglob("*")
        if path.is_file() and not {"__pycache__", ".ruff_cache", ".hypothesis"} & {*path.parts}
    ]
    return {
        name
        for name in names
        if not (before / name).exists() or (before / name).read_bytes() != (now / name).read_bytes()
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", LISTS)
def test_a_list_names_every_file_that_changes(trees: list[Path], name: str) -> None:
    steps = steps_of(name)
    before = LISTS.index(name)
    files = changed(trees[before], trees[before + 1])
    assert {file for file in files if not any(step.names(file) for step in steps)} == set()
    for step in (step for step in steps if step.runs):
        for pattern in step.files:
            assert any(pattern.fullmatch(file) for file in files), (name, step.number, pattern)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "file", "check", "says"),
    [
        (
            "fact",
            "projections/score_board/view.py",
            "tests/projections/test_catalogue.py",
            "score_board",
        ),
        (
            "fact",
            "tests/golden/exam_incident_recorded.v1.jsonl",
            "tests/golden",
            "exam_incident_recorded.v1",
        ),
        (
            "command",
            "domain/lawfulness/inverses.py",
            "tests/domain/lawfulness/test_inverses.py",
            "RecordIncident",
        ),
        (
            "command",
            "api/routes/exam_sessions.py",
            "tests/api/routes/test_routers.py",
            "RecordIncident",
        ),
        (
            "command",
            "api/errors/problem_details.py",
            f"{PROBLEMS}::test_every_error_class_has_a_status",
            "incident_before_exam",
        ),
        (
            "command",
            "tests/domain/test_command_spec.py",
            "tests/domain/test_command_spec.py",
            "RecordIncident",
        ),
        (
            "view",
            "projections/catalogue.py",
            "tests/projections/test_catalogue.py",
            "exam_incidents",
        ),
        ("view", "tests/test_architecture.py", "tests/test_architecture.py", "exam_incidents"),
        (
            "read route",
            "api/auth/permissions.py",
            "tests/api/routes/test_routers.py",
            "'list_incidents' has no row",
        ),
        (
            "read route",
            "tests/api/auth/test_permissions.py",
            "tests/api/auth/test_permissions.py",
            "list_incidents",
        ),
        (
            "page",
            "api/web/templates/texts/exam_incidents.json",
            "tests/api/web/test_i18n.py",
            "incidents.title",
        ),
        (
            "page",
            "api/web/routes.py",
            "tests/api/web/test_exam_incidents.py",
            "assert '没有异常情况' in",
        ),
    ],
)
def test_a_check_fails_if_a_step_is_left_out(
    trees: list[Path], tmp_path: Path, name: str, file: str, check: str, says: str
) -> None:
    tree = shutil.copytree(trees[LISTS.index(name)], tmp_path / "tree")
    make_edits(tree, name, without=file)
    done = checked(tree, [check])
    assert done.returncode in FAILED, done.stdout[-4000:] + done.stderr[-2000:]
    assert says in done.stdout + done.stderr
