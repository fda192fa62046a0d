"""What the README tells a reader to type is typed here, on a fresh service with its example.

So is the guide that erases a person of that example.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.documents.citations import ROOT
from tests.docs.blocks import blocks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ADDRESS = "http://127.0.0.1:8000"
READY_S = 240.0
"""How long the first start may take: it loads thousands of rows on a busy machine."""


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A service as `scripts/run` starts it: its address and its data directory."""
    folder = tmp_path_factory.mktemp("readme")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ("serve", "--demo", "--port", str(port), "--data", str(folder / "data"))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", *arguments], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        _wait(process, folder / "log")
        yield f"http://127.0.0.1:{port}", folder / "data"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while "\nready http" not in f"\n{log.read_text()}":
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def run_page(page: str, service: tuple[str, Path], folder: Path, before: str = "") -> str:
    """Run every bash block of a page in one shell, as a reader would. Returns: what it printed.

    before: what the reader has typed already.
    """
    address, data = service
    script = "\n".join(["set -eu", before, *(block.text for block in blocks(page, "bash"))])
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    program = programs / "certledger"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m api.cli "$@"\n')
    program.chmod(0o755)
    (folder / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        ["bash"],
        input=script.replace(ADDRESS, address),
        cwd=folder,
        env=os.environ | {"CERTLEDGER_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the English commands are typed."""
    return tmp_path_factory.mktemp("typed")


@pytest.fixture(scope="module")
def printed(service, folder) -> str:
    """What the English commands printed."""
    return run_page("README.md", service, folder)


def test_the_commands_lead_from_the_application_to_the_certificate_and_the_refund(printed, folder):
    answers = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    topics = [topic for answer in answers for topic in answer.get("topics", ())]
    for topic in (
        "eligibility_confirmed.v1",
        "fee_paid.v1",
        "final_review_passed.v1",
        "admission_ticket_issued.v1",
        "public_notice_closed.v1",
        "certificate_issued.v1",
        "refund_refused.v1",
        "refund_settled.v1",
    ):
        assert topic in topics
    (found,) = [answer["certificates"] for answer in answers if "certificates" in answer]
    assert {card["kind"] for card in found} == {"national", "omc"}
    assert {card["standing"] for card in found} == {"valid"}
    assert {card["masked_name"] for card in found} == {"王**"}
    refused = [a["outcome"] for a in answers if "refund_refused.v1" in a.get("topics", ())]
    assert refused == [{"clause": "2.4(1)", "refused": "study_material_used"}]
    assert "omc: good" in printed
    assert (folder / "ticket.pdf").read_bytes().startswith(b"%PDF")


def test_a_second_time_the_same_commands_record_nothing_new(service, printed, tmp_path):
    again = run_page("README.zh.md", service, tmp_path)
    assert _ids(again) == _ids(printed)
    assert '"recorded":0,"replayed":2,"refused":0' in again


def test_a_person_is_erased_by_two_as_the_guide_says(service, tmp_path):
    before = 'export PATH="$PWD/.venv/bin:$PATH"'  # docs/README.md
    typed = run_page("docs/how-to/erase-a-person.md", service, tmp_path, before)
    firsts = re.findall(r'"topics":\["([^"]+)"', typed)
    assert firsts == ["erasure_proposed.v1", "erasure_confirmed.v1"]
    text = (ROOT / "docs/how-to/erase-a-person.md").read_text("utf-8")
    [stated] = re.findall(r'"basis": ("[^"]+")', text)
    assert f'"until":"2056-12-31","basis":{stated},"years":30' in typed


def _ids(printed: str) -> list[str]:
    return re.findall(r'"command_id":"([^"]+)"', printed)


def test_both_languages_give_the_same_commands_in_the_same_order():
    for language in ("sh", "bash"):
        english, chinese = blocks("README.md", language), blocks("README.zh.md", language)
        assert [block.text for block in english] == [block.text for block in chinese]


def test_both_languages_have_the_same_sections_and_links():
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))
    assert _shape(english) == _shape(chinese)
    assert _links(english) - {"README.zh.md"} == _links(chinese) - {"README.md"}


def _shape(text: str) -> list[str]:
    """Headings, list items and table rows, by their first sign."""
    bare = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^(#+|- |\||\*\*)", bare, re.MULTILINE)


def _links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)\s]+)\)", text))


def test_the_first_command_starts_the_service():
    start, tests = (block.text.strip() for block in blocks("README.md", "sh"))
    make, run = tests.splitlines()
    assert f"{make.partition(' ')[2]}:" in (ROOT / "Makefile").read_text("utf-8")
    for command in (start, run):
        assert os.access(ROOT / command, os.X_OK)
    reply = (ROOT / "README.md").read_text("utf-8")
    for option in re.findall(r"(--[a-z]+) ", (ROOT / start).read_text().partition("while")[0]):
        assert f"`{option}" in reply
