"""Runs the tests of a folder in another place, such as a virtual machine, and reports them as if they had run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

REPORTS = "PYSK_TEST_REPORTS"  # names the file, in the other place, to which each report is appended as a line of JSON


class Place:
    """Where the tests of one folder run: a plugin for pytest, here and in the other place.

    All tests of the folder that were selected run there at once, by one pytest, when the first of them is due here.
    """

    def __init__(
        self,
        folder: Path,
        run: Callable[[list[str], Path], subprocess.CompletedProcess[str]],
        timeout: int = 900,
    ) -> None:
        """Take what runs a command there, given a directory that both places share; the status and output come back.

        :param timeout: in seconds, for all tests together.
        """
        self._folder = folder
        self._run = run
        self._timeout = timeout
        self._reports: dict[str, list[pytest.TestReport]] | None = None
        self._output = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Grant each test the time of all, since it may be the first."""
        for item in items:
            if item.path.parent == self._folder and not _is_there():
                item.add_marker(pytest.mark.timeout(self._timeout))

    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Give the reports of the other place as this test's own."""
        if item.path.parent != self._folder or _is_there():
            return None
        if self._reports is None:
            self._reports = self._run_all(item)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports.get(item.nodeid) or [self._missing(item)]:
            item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In the other place, write the report down."""
        if _is_there():
            with open(os.environ[REPORTS], "a") as file:
                file.write(json.dumps(report._to_json()) + "\n")

    def _run_all(self, first: pytest.Item) -> dict[str, list[pytest.TestReport]]:
        ids = [item.nodeid for item in first.session.items if item.path.parent == self._folder]
        reports: dict[str, list[pytest.TestReport]] = {}
        with tempfile.TemporaryDirectory() as name:
            variable = f"{REPORTS}={name}/reports"
            # By its path, since "python -m" would let the source tree hide the installed package.
            pytest_there = [
                str(Path(sys.executable).with_name("pytest")),
                "-p",
                "no:cacheprovider",
                "--quiet",
                "-m",
                "",
                *ids,
            ]
            try:
                # The IDs are relative to it.
                folder = f"--chdir={first.config.rootpath}"
                done = self._run(["env", folder, variable, *pytest_there], Path(name))
                self._output = done.stdout + done.stderr
            except Exception as error:  # noqa: BLE001 - each test that did not run fails, and tells why
                self._output = str(error)
            path = Path(name, "reports")
            for line in path.read_text().splitlines() if path.exists() else ():
                report = pytest.TestReport._from_json(json.loads(line))
                reports.setdefault(report.nodeid, []).append(report)
        return reports

    def _missing(self, item: pytest.Item) -> pytest.TestReport:
        text = f"it did not run; the place where it should have run said:\n{self._output}"
        return pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "call")


def _is_there() -> bool:
    return REPORTS in os.environ
