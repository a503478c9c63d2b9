# The habits of this repository. `make help` lists them.
SHELL := /bin/bash
GO    ?= go
BIN   := bin

.PHONY: help build test race s3 crash torture relations soak promotions shadow faults poison metamorphic trees arm64 fuzz lint pictures proto airflow conformance bench demo clean slow remote mlflow serve-bench

help: ## list these targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/millrace, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/millrace ./cmd/millrace

TESTFLAGS ?=
# With the tag the Kafka client waits in ways that package testing/synctest understands: the engine's tests, which
# wait for sessions and transactions to time out, then need seconds. Without it they run in real time, in minutes.
test: ## run every test; those that need Java and Maven, or real data, say so when they skip
	@command -v java >/dev/null && command -v mvn >/dev/null || \
	  echo "note: the tests against real Kafka are skipped: install Java 17 and Maven to run them"
	@test -f "$${MILLRACE_DATA:-../shared/data}/housedata.csv" || \
	  echo "note: the tests on real sales are skipped: set MILLRACE_DATA to a folder with housedata.csv to run them"
	@test -d "$${MILLRACE_VECTORS:-../shared/vectors}/kstreams" || \
	  echo "note: the conformance vectors of Kafka Streams are skipped: set MILLRACE_VECTORS to the folder that holds kstreams/*.json to run them"
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || test -n "$$MILLRACE_CHROMIUM" || \
	  echo "note: the tests that look at pages in a browser are skipped: install Chromium to run them"
	@test -x "$${MILLRACE_S3_SERVER:-bin/versitygw}" || \
	  echo "note: the tests against a real S3 server are skipped: run make s3 once, which builds bin/versitygw in a few minutes"
	@echo "note: the tests with clients and servers from PyPI run on request: make conformance mlflow remote trees"
	$(GO) test -timeout 30m -tags synctests $(TESTFLAGS) ./...
	GOEXPERIMENT=jsonv2 $(GO) test $(TESTFLAGS) ./codec

race: ## run the unit tests under the race detector
	$(GO) test -race -short -tags synctests -timeout 20m ./...

$(BIN)/versitygw: e2e/s3test/server/go.mod e2e/s3test/server/go.sum
	$(GO) -C e2e/s3test/server build -o ../../../$@ github.com/versity/versitygw/cmd/versitygw

s3: $(BIN)/versitygw ## run the registry's tests against a real S3 server, which takes minutes to build the first time
	MILLRACE_REQUIRE=s3 $(GO) test ./internal/registry/... -count=1

KILLS ?= 200
crash: $(BIN)/versitygw ## kill writers of a registry at KILLS random moments (default 200), in a folder and on a real S3 server
	MILLRACE_REQUIRE=s3 MILLRACE_KILLS=$(KILLS) $(GO) test ./internal/registry -run '^TestKilledWriters$$' -count=1 -v

RUNS ?= 10
torture: ## kill and stop instances and brokers at random, RUNS times (default 10, about 3 minutes each)
	MILLRACE_REQUIRE=kafka MILLRACE_TORTURE=$(RUNS) $(GO) test ./e2e -run '^TestThreeInstances$$' -count=1 -v -timeout 0
	MILLRACE_REQUIRE=kafka MILLRACE_TORTURE=$(RUNS) $(GO) test ./e2e/streams -run '^TestFaults$$' -count=1 -v -timeout 0

relations: RUNS = 20
relations: ## the same for a join by a foreign key with sessions, RUNS times (default 20, about a minute each)
	MILLRACE_REQUIRE=kafka,relations MILLRACE_TORTURE=$(RUNS) $(GO) test ./e2e/streams -run '^TestRelations$$' -count=1 -v -timeout 0

PROMOTIONS ?= 100
promotions: ## promote models and roll back, PROMOTIONS times (default 100), while three instances predict, and compare latencies
	MILLRACE_REQUIRE=kafka MILLRACE_PROMOTIONS=$(PROMOTIONS) $(GO) test ./e2e -run '^TestPromotions$$' -count=1 -v -timeout 0

SHADOWS ?= 5
shadow: ## run production beside shadows that are well, killed, stopped, large or have a full disk, SHADOWS times (default 5), and compare latencies
	MILLRACE_REQUIRE=kafka MILLRACE_SHADOWS=$(SHADOWS) $(GO) test ./e2e -run '^TestShadows$$' -count=1 -v -timeout 0

FAULTS ?= 2
faults: ## have calls to the model's server go wrong in every way for one partition, FAULTS times (default 2), and compare latencies of the others
	MILLRACE_REQUIRE=kafka MILLRACE_REMOTE_FAULTS=$(FAULTS) $(GO) test ./e2e -run '^TestRemoteFaults$$' -count=1 -v -timeout 0

SECONDS_OF_POISON ?= 120
poison: ## send bad input of every kind, 1 % of 2,000 records a second, and compare latencies with a clean stream
	MILLRACE_REQUIRE=kafka MILLRACE_POISON=$(SECONDS_OF_POISON) $(GO) test ./e2e -run '^TestPoison' -count=1 -v -timeout 0

trees: ## import models of LightGBM and XGBoost from PyPI, and compare predictions with Python's, bit for bit
	MILLRACE_REQUIRE=pypi $(GO) test ./e2e/trees -count=1 -v

# The packages whose results must have the same bits on every machine.
SAMEBITS := ./record ./codec ./feature ./gbm ./model ./internal/detmath ./internal/stat ./internal/window ./internal/table ./internal/cdc ./internal/pipeline
arm64: ## run the tests of all that computes for arm64, under QEMU (Debian: qemu-user)
	@command -v qemu-aarch64 >/dev/null || { echo "qemu-aarch64 is missing: install qemu-user" >&2; exit 1; }
	CGO_ENABLED=0 GOARCH=arm64 $(GO) test -short -exec qemu-aarch64 -timeout 60m $(TESTFLAGS) $(SAMEBITS)

metamorphic: RUNS = 200
metamorphic: ## compare batch with streams on RUNS random pipelines (default 200, about half a second each)
	MILLRACE_METAMORPHIC=$(RUNS) $(GO) test ./internal/app -run '^TestMetamorphic$$' -count=1 -v -timeout 0 | grep -v -e '^=== ' -e '^ *--- PASS'

FUZZTIME ?= 20s
FUZZJOBS ?= 1
FUZZPKGS ?= ./...
FUZZ     ?= .
# Inputs that are new are made smaller for a second at most, and not for the minute that is the default: nothing else is tried meanwhile.
fuzz: ## run the fuzz targets of FUZZPKGS that match FUZZ for FUZZTIME each (default 20s), FUZZJOBS side by side
	@set -e -o pipefail; mkdir -p $(BIN)/fuzz; cache=$$($(GO) env GOCACHE)/fuzz; \
	for pkg in $$($(GO) list $(FUZZPKGS)); do \
	  dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
	  names=$$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$dir/*_test.go 2>/dev/null | cut -c6- | grep -E '$(FUZZ)') || continue; \
	  bin=$(CURDIR)/$(BIN)/fuzz/$$(echo $$pkg | tr / -).test; \
	  GOEXPERIMENT=jsonv2 $(GO) test -c -fuzz . -o $$bin $$pkg >&2; \
	  for f in $$names; do echo "$$dir $$bin $$f $$cache/$$pkg"; done; \
	done | xargs -P $(FUZZJOBS) -n 4 bash -o pipefail -c '\
	  jobs=$$(nproc); [ $(FUZZJOBS) = 1 ] || jobs=1; cd $$0 && \
	  $$1 -test.run "^$$" -test.fuzz "^$$2\$$" -test.fuzztime $(FUZZTIME) -test.fuzzminimizetime 1s -test.fuzzcachedir $$3 -test.parallel $$jobs 2>&1 | \
	    sed -u "s|^|$$(basename $$0) $$2: |"'

$(BIN)/golangci-lint: tools/go.mod tools/go.sum
	$(GO) -C tools build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

lint: $(BIN)/golangci-lint ## run the linters, pinned in tools/go.mod
	$(BIN)/golangci-lint run ./...
	$(BIN)/golangci-lint fmt --diff ./...

pictures: ## look at the pages of millrace in Chromium, and keep the pictures in bin/pictures
	MILLRACE_REQUIRE=chromium MILLRACE_PICTURES=$(CURDIR)/$(BIN)/pictures $(GO) test ./e2e/picture -count=1 -v

$(BIN)/proto: tools/proto/main.go tools/go.mod tools/go.sum
	$(GO) -C tools build -o ../$(BIN)/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go ./proto

proto: $(BIN)/proto ## generate the Go code of the messages of gRPC, with the generators pinned in tools/go.mod
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/proto

airflow: ## have a real Airflow, from PyPI into bin/airflow, run the DAG of examples/airflow
	MILLRACE_REQUIRE=airflow $(GO) test ./e2e/airflow -count=1 -v

conformance: ## have the Python clients of Triton and KServe, from PyPI into bin/conformance, talk to millrace serve
	MILLRACE_REQUIRE=pypi $(GO) test ./e2e/conformance -count=1 -v

remote: ## have streams predicted by scikit-learn behind MLServer and MLflow, real ones from PyPI into bin/remote
	MILLRACE_REQUIRE=pypi $(GO) test ./e2e/remote -count=1 -v

mlflow: ## have MLflow's client, from PyPI into bin, use millrace serve, and import from a real MLflow server
	MILLRACE_REQUIRE=pypi $(GO) test ./e2e/mlflow -count=1 -v

bench: ## measure the data path, the engine beside a bare copy, streams beside Kafka Streams
	./bench/run

SLOW ?= 10000
slow: ## measure requests to millrace serve beside SLOW slow connections (default 10000), and without, in turns
	./bench/run slow -connections $(SLOW)

# For example make soak SOAK='-minutes 2 -retention 10s -out /tmp', which is too short for a verdict.
SOAK ?=
soak: ## run an application with sessions, windows and joins for half an hour, and see whether anything that it takes grows
	./bench/run soak $(SOAK)

serve-bench: ## measure millrace serve beside MLServer with the same trees: about 6 minutes, alone on the machine
	./bench/run serve

demo: ## run the whole journey on made-up houses
	$(GO) run ./cmd/millrace demo

clean: ## remove what make built
	rm -rf $(BIN)
