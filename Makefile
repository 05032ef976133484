# make build | test | test-long | crash | lint | bench | peers | fuzz | spam-agreement | deb
# Only Go and a C compiler are needed, and no root but for peers.

GO ?= go
# A program of tools/go.mod, built once into .cache.
TOOLS = $(CURDIR)/.cache/bin

.PHONY: build test test-long crash lint bench peers fuzz spam-agreement deb clean

build:
	$(GO) build -o mtad ./cmd/mtad

# Everything that can be checked here. What needs a program that is not
# installed is skipped, and named at the end.
test: lint
	$(GO) vet -tags e2e,invariants ./...
	$(GO) run ./internal/testrun -race -tags e2e,invariants -timeout 20m ./...

# What is too long for every day: the kills, half an hour of mixed load, and every
# harness whole.
test-long: crash
	MTAD_LONG=1 $(GO) test -count=1 -tags e2e -v -p 1 -timeout 2h ./internal/e2e ./internal/e2e/soak ./spam/bayes

# N kills of the real program, in turn at each point and at any moment, and what
# became of the mail (docs/promises.md).
N ?= 200
crash:
	$(GO) test -count=1 -tags e2e -v -timeout 2h -run TestCrash ./internal/e2e/crash -kills $(N)

# How far spamscore and SpamAssassin agree, on messages that nobody looks at while
# the engine is written.
spam-agreement:
	$(GO) test -count=1 ./spam -run TestAgreement -timeout 30m -agreement-seed 2 -agreement-size 600 -agreement $(CURDIR)/docs/spamscore-agreement.md

lint: $(TOOLS)/golangci-lint
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(TOOLS)/golangci-lint run --build-tags e2e,invariants ./...

$(TOOLS)/golangci-lint: tools/go.mod
	@echo "building golangci-lint: two to three minutes, once"
	cd tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# The benchmarks, then mtad beside Postfix in one alternating run (needs root and
# Postfix, else it says so).
bench: build
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./internal/sidebyside -mtad ./mtad

# The programs of other people that tests talk to. Their services are not started.
peers:
	.ci/peers.sh

# Every fuzzer for FUZZTIME.
FUZZTIME ?= 20s
fuzz:
	.ci/fuzz.sh $(FUZZTIME)

# A Debian package, in DEBDIR, by dpkg-deb; installs nothing.
DEBDIR ?= .
deb:
	GO=$(GO) packaging/deb/build.sh $(DEBDIR)

clean:
	rm -rf mtad mtad_*.deb .cache bench-out
