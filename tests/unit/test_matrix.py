"""What the matrix makes of its suites' output: one that dies halfway, or leaves something out, has failed."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

PATH = Path(__file__).resolve().parents[1] / "matrix/matrix"

# As the suites print it.
LIBSSH = """\
pass  torture_pki_sk torture_pki_sk_enroll
pass  torture_pki_sk torture_pki_sk_sign
pass  torture_pki_sshsig torture_pki_sshsig_sk
pass  torture_auth torture_auth_pubkey_types_sk_ecdsa
pass  pkd_hello_i1 torture_pkd_openssh_sk_ed25519
"""
SCRIPTS = ("keytype", "agent", "krl")
REGRESS = """\
script                  sk-dummy        libpysk           uses
keytype                 -        0.0 s  pass    23.4 s    14
agent                   -        0.0 s  pass     9.0 s     6
krl                     -        0.0 s  pass     5.1 s     3
libpysk: 3 pass, 0 fail, 0 skip, 37 s
no new failure
"""
COLUMNS = ("loads", "agent", "other")
PYTEST = """<testsuites><testsuite name="pytest" tests="3">\
<testcase classname="tests.openssh.test_api_major" name="test_one" time="0.1" />\
<testcase classname="tests.openssh.test_login" name="test_an_agent" time="0.1" />\
<testcase classname="tests.openssh.test_pysk" name="test_two" time="0.1" />\
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    loader = SourceFileLoader("matrix", str(PATH))
    spec = importlib.util.spec_from_loader("matrix", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_suites_that_pass_are_counted(matrix: ModuleType) -> None:
    outcome = matrix.judge_pytest(0, PYTEST, COLUMNS)
    outcome.add(matrix.judge_libssh(0, LIBSSH))
    outcome.add(matrix.judge_regress(0, REGRESS, SCRIPTS))
    assert outcome.failures == []
    assert [outcome.cell(column) for column in (*COLUMNS, "libssh", "regress")] == ["1/1", "1/1", "1/1", "5/5", "3/3"]
    assert outcome.cell("sign") == "-"


@pytest.mark.parametrize(
    ("change", "failures"),
    [
        (("pass  torture_auth", "fail  torture_auth"), ["torture_auth: torture_auth_pubkey_types_sk_ecdsa"]),
        (("pass  torture_auth", "skip  torture_auth"), ["torture_auth: torture_auth_pubkey_types_sk_ecdsa"]),
        ((LIBSSH[-60:], ""), ["pkd_hello_i1 did not run"]),
        ((LIBSSH, ""), [f"{program} did not run" for program in
                        ("torture_pki_sk", "torture_pki_sshsig", "torture_auth", "pkd_hello_i1")]),
        (("", ""), ["tests/libssh/suite ended with status 1"]),
    ],
)  # fmt: skip
def test_libssh_has_passed_only_whole(matrix: ModuleType, change: tuple[str, str], failures: list[str]) -> None:
    assert matrix.judge_libssh(1, LIBSSH.replace(*change)).failures == failures


def test_a_script_has_passed_only_with_a_provider_that_was_used(matrix: ModuleType) -> None:
    for change in (("pass    23.4", "fail    23.4"), ("pass    23.4", "skip    23.4"), ("s    14", "s     0")):
        outcome = matrix.judge_regress(0, REGRESS.replace(*change), SCRIPTS)
        assert outcome.failures == ["keytype"]
        assert outcome.cell("regress") == "2/3"


@pytest.mark.parametrize("length", range(0, len(REGRESS), 7))
def test_a_regression_suite_that_is_cut_off_has_failed(matrix: ModuleType, length: int) -> None:
    assert matrix.judge_regress(-9, REGRESS[:length], SCRIPTS).failures
    if REGRESS.index("krl") > length:
        # Whatever its status is.
        assert "krl did not run" in matrix.judge_regress(0, REGRESS[:length], SCRIPTS).failures


@pytest.mark.parametrize("length", range(0, len(PYTEST), 7))
def test_pytest_that_is_cut_off_has_failed(matrix: ModuleType, length: int) -> None:
    assert matrix.judge_pytest(0, PYTEST[:length], COLUMNS).failures == [f"{column} did not run" for column in COLUMNS]


def test_a_test_of_pytest_that_did_not_pass_is_named(matrix: ModuleType) -> None:
    for problem in ("failure", "error", "skipped"):
        xml = PYTEST.replace('"test_two" time="0.1" />', f'"test_two"><{problem}/></testcase>')
        assert matrix.judge_pytest(1, xml, COLUMNS).failures == ["test_pysk: test_two"]
    unimportable = PYTEST.replace(
        'classname="tests.openssh.test_pysk" name="test_two"', 'classname="" name="tests.openssh.test_pysk"'
    )
    assert matrix.judge_pytest(2, unimportable, COLUMNS).failures == ["pytest ended with status 2"]


def test_a_column_without_a_test_has_failed(matrix: ModuleType) -> None:
    assert matrix.judge_pytest(0, PYTEST, (*COLUMNS, "libssh")).failures == ["libssh did not run"]


def test_unit_tests_are_no_tests_of_openssh(matrix: ModuleType) -> None:
    xml = PYTEST.replace("tests.openssh.test_login", "tests.unit.cli.test_login")
    outcome = matrix.judge_pytest(0, xml, ("loads", "unit", "other"))
    assert outcome.failures == []
    assert [outcome.cell(column) for column in ("loads", "unit", "other", "login", "agent")] == ["1/1"] * 3 + ["-"] * 2


def test_the_lowest_packages_are_those_at_the_bounds(matrix: ModuleType) -> None:
    pyproject = """
requires = ["setuptools>=77.0.1; python_version >= '3.10'", "cffi>=1.16"]
requires-python = ">=3.10"
dependencies = ["cffi>=1.16", "fido2>=2.1,<3"]
test = ["pytest-xdist>=3.8"]
lint = ["ruff==0.17.6"]
"""
    assert matrix.lowest(pyproject) == "cffi==1.16\nfido2==2.1\npytest-xdist==3.8\nsetuptools==77.0.1\n"
