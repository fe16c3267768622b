# The system's Python is the one that root-owned libraries can be built for; PYTHON= names another.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
PREFIX ?= /usr/local/lib/pysk
LINKS ?= $(if $(filter /usr/local/lib/pysk,$(PREFIX:/=)),/usr/local)
# A release of Debian, besides the one that this is, whose OpenSSH `make test` tries as well.
RELEASE ?= trixie
# Of the Debian package: each time that the same version is built again, it is higher.
REVISION ?= 1
# Most of the time tests wait, which those of two files can do beside each other.
pytest = .venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
# What tests/setup makes sure of before anything is built: all that the goal will want, so that it is told at once.
setup = build
# Whether the Python is one that will do is told before that, unless it is yet to be installed.
check_python = ! command -v $(PYTHON) >/dev/null || $(PYTHON) -I cbuild/check_python.py
sources := $(shell find sk_provider cbuild -name '*.py' -o -name '*.[ch1578]') pyproject.toml README.md

.PHONY: all
all: .venv/.installed  ## build libpysk.so in .venv and print its path
	@.venv/bin/pysk path

.venv/.installed: $(sources)
	@$(check_python)
	@tests/setup $(setup)
	@cbuild/install $(PYTHON) .venv && touch $@

.venv/.tools: .venv/.installed
	@tests/setup check
	@cbuild/install $(PYTHON) .venv ldap,lint,nfc,test,tpm && touch .venv/.ldap $@

.venv/.ldap: .venv/.installed
	@tests/setup demo-directory
	@cbuild/install $(PYTHON) .venv ldap && touch $@

.PHONY: demo
demo: setup = demo
demo: .venv/.installed  ## enroll, log in, sign and verify on the software authenticator
	@tests/setup demo
	@.venv/bin/python tests/demo

.PHONY: demo-directory
demo-directory: setup = demo-directory
demo-directory: .venv/.ldap  ## log in with a key that an LDAP server has, and no file
	@tests/setup demo-directory
	@.venv/bin/python tests/demo-directory

.PHONY: check
check: setup = check
check: .venv/.tools  ## lint, types and those unit tests that are quick
	@.venv/bin/ruff check && .venv/bin/ruff format --check --quiet && .venv/bin/mypy
	@$(pytest) --quiet -m "not slow and not long" tests/unit

.PHONY: test
test: setup = test
test: .venv/.tools  ## everything that CI runs
	@tests/setup test
	@$(MAKE) --no-print-directory check
	@$(pytest) --quiet -m "slow and not long" tests/unit
	@$(MAKE) --no-print-directory demo demo-directory
	@tests/openssh/regress
	@$(pytest) --ignore=tests/unit
	@OPENSSH_RELEASE=$(RELEASE) $(pytest) $(addprefix tests/openssh/test_,api_major.py login.py resident.py signatures.py)
	@OPENSSH_RELEASE=$(RELEASE) tests/openssh/regress --alone --scripts keytype agent sshsig hostkey-agent

.PHONY: test-all
test-all: test regress  ## make test, and what takes longer
	@.venv/bin/pytest -m long
	@FUZZ_EXAMPLES=1000 .venv/bin/pytest --timeout=0 $$(grep -rl --include='test_*.py' FUZZ_EXAMPLES tests)
	@.venv/bin/python tests/hardware/side-by-side

.PHONY: regress
regress: setup = test
regress: .venv/.tools  ## OpenSSH's regression suite, with libpysk.so and with its own test double
	@tests/setup test
	@tests/openssh/regress --all

.PHONY: bench
bench: setup = test
bench: .venv/.tools  ## measure beside OpenSSH's test double; BASE=REVISION and PYTHONS="PROGRAM ..." measure those too
	@tests/setup test
	@.venv/bin/python tests/bench/bench --json .build/bench.json $(if $(BASE),--base $(BASE)) $(PYTHONS:%=--python %)
	@tests/openssh/regress --all --in-turn

.PHONY: matrix
matrix:  ## try every Debian release's OpenSSH in chroots (as root), other Pythons, and libssh
	@tests/setup matrix
	@tests/matrix/matrix

.PHONY: fuzz
fuzz: .venv/.tools  ## fuzz the parsers, an hour in all
	@cbuild/install $(PYTHON) .venv fuzz
	@.venv/bin/python tests/fuzz/run --seconds 600

.PHONY: mutate
mutate: .venv/.tools  ## change the package in small ways, and see which changes no test notices
	@.venv/bin/python tests/mutate $(if $(SEED),--seed $(SEED))

## With install and uninstall:
##   PREFIX=FOLDER   where it is, instead of /usr/local/lib/pysk
##   LINKS=FOLDER    where the command, man pages and completions are linked: /usr/local, unless there is a PREFIX
##   DESTDIR=FOLDER  put below this what is to be moved to its place later
.PHONY: install
install:  ## install for everybody, where ssh-agent accepts the library
	@$(check_python)
	@tests/setup build
	@LINKS="$(LINKS)" DESTDIR="$(DESTDIR)" cbuild/deploy $(PYTHON) "$(PREFIX)"
	@$(if $(DESTDIR),echo "$(PREFIX)/libpysk.so","$(PREFIX)"/bin/pysk path)

.PHONY: uninstall
uninstall:  ## remove what make install has made
	@DESTDIR="$(DESTDIR)" cbuild/uninstall "$(PREFIX)"

.PHONY: deb
deb:  ## build a Debian package for the release that this is; REVISION=2 where it is built again
	@tests/setup deb
	@cbuild/deb/package "$(REVISION)" .build/deb

.PHONY: lock
lock:  ## renew what make install takes from PyPI
	@cbuild/lock $(PYTHON)

.PHONY: clean
clean:  ## delete what the other targets made
	@rm -rf .venv .build build *.egg-info

.PHONY: help
help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile
	@sed -n 's/^## //p' Makefile
