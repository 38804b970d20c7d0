# What people and CI call. The work is cargo's; what is more than a line is a script in tests/.
#
#   make demo      settings are written, signed, packed and applied to a scratch root: no root, no machine, no preparation
#   make demo-vm   the same into a Debian guest in QEMU, its console, and a login over SSH (root, and Debian's packages)
#   make demo-app  a load balancer, two web servers and a database from the catalog, of settings files alone (the same)
#   make check     everything that must hold before a change goes in (root, for the tests on machines)
#   make crash     every point at which a change can be interrupted or refused, and a table of what was found (root)
#   make fuzz      hostile input to every reader, FUZZ_SECONDS each (default 600), with libFuzzer (a compiler for C++)
#   make dist      static dist/handoff-agent and dist/handoff
#   make fmt       the source as rustfmt wants it
#   make deps      the packages and targets that check and dist need
#   make clean

CARGO ?= cargo

.PHONY: demo demo-vm demo-app check crash fuzz dist fmt deps clean

demo:
	@$(CARGO) run --quiet --bin handoff -- try

demo-vm: deps
	@$(CARGO) run --quiet --features vm-tests --example demo-vm

demo-app: deps
	@$(CARGO) run --quiet --features vm-tests --example demo-app

check:
	@tests/check

crash: deps
	@tests/crash-suites

fuzz: deps
	@tests/fuzz

dist:
	@tests/dist

fmt:
	$(CARGO) fmt

deps:
	@tests/install-packages

clean:
	$(CARGO) clean
	rm -rf dist .cache
