# SPDX-License-Identifier: GPL-2.0
# make            build/pinfault-exec, build/pinfault-judge
# make check      everything that can fail, from a bare machine (README, "Tests")
# make bench      how fast it is
# make lint       cppcheck, clang-tidy, a Python check
# A new channel, fault, core file or C test is picked up by its place; nothing here names one.

BUILD   ?= build
CC      ?= gcc
PKGS    := liburing libibverbs zlib
CFLAGS  ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -Iharness/core -Wall -Wextra -Wshadow -Werror \
	  $(CFLAGS) $(SAN) $(shell pkg-config --cflags $(PKGS))
LDLIBS  = $(shell pkg-config --libs $(PKGS)) -lpthread

CORE     := $(wildcard harness/core/*.c)
EXEC     := $(wildcard harness/executor/*.c)
JUDGE    := $(wildcard harness/judge/*.c)
CHANNELS := $(wildcard workloads/channels/*.c)
FAULTS   := $(wildcard workloads/faults/*.c)
TESTS    := $(wildcard harness/tests/test_*.c)
JUDGE_LIB := $(filter-out harness/judge/main.c,$(JUDGE))
BENCHES  := $(wildcard harness/bench/bench_*.c)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

all: $(BUILD)/pinfault-exec $(BUILD)/pinfault-judge
tests: all $(patsubst harness/tests/%.c,$(BUILD)/%,$(TESTS)) $(BUILD)/rdma_try \
       $(patsubst harness/bench/%.c,$(BUILD)/%,$(BENCHES))

$(BUILD)/pinfault-exec: $(call obj,$(CORE) $(EXEC) $(CHANNELS) $(FAULTS))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/pinfault-judge: $(call obj,$(CORE) $(JUDGE))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lz

# Tests of the judge know the judge and nothing that acts.
$(BUILD)/test_judge_%: $(BUILD)/harness/tests/test_judge_%.o \
		$(BUILD)/harness/tests/brute.o $(BUILD)/harness/tests/history_gen.o \
		$(call obj,$(CORE) $(JUDGE_LIB))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(shell pkg-config --libs check)

$(BUILD)/test_%: $(BUILD)/harness/tests/test_%.o $(call obj,$(CORE) $(CHANNELS) $(FAULTS))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(shell pkg-config --libs check)

$(BUILD)/test_race_plan: $(BUILD)/harness/executor/race_plan.o
$(BUILD)/test_worker: $(BUILD)/harness/executor/worker.o
$(BUILD)/test_zeros: $(BUILD)/harness/executor/zeros.o
$(BUILD)/test_faults $(BUILD)/test_sabotage: $(BUILD)/harness/tests/fault_fixture.o
$(BUILD)/test_channels_gup $(BUILD)/test_channels_held: $(BUILD)/harness/tests/gup_fixture.o

$(BUILD)/bench_%: $(BUILD)/harness/bench/bench_%.o $(call obj,$(CORE) $(JUDGE_LIB))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread -lz

# Its operations are those of the plan of races.
$(BUILD)/bench_judge: $(call obj,harness/bench/race_stream.c harness/executor/race_plan.c $(FAULTS))

# Not a test that runs by itself: it wants an RDMA device, so it is only built.
$(BUILD)/rdma_try: $(BUILD)/harness/tests/rdma_try.o $(call obj,$(CORE) $(CHANNELS))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(BUILD)/harness/tests/rdma_try.o: ALL_CFLAGS += -Iworkloads/channels

# Every operation of a night's race goes through these.
ifeq ($(SAN),)
$(BUILD)/harness/judge/race_%.o: ALL_CFLAGS += -O3
endif

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# Parsers under libFuzzer: make fuzz builds build-fuzz/fuzz_*; harness/fuzz/run.py runs them.
FUZZERS   := $(patsubst harness/fuzz/%.c,build-fuzz/%,$(wildcard harness/fuzz/fuzz_*.c))
FUZZ_CC   ?= clang
FUZZ_FLAGS = -std=gnu11 -D_GNU_SOURCE -Iharness/core -O1 -g -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=undefined -DJ_FILE_CELLS_MAX=256u -DX_WORLDS_MAX=8u \
	  -DX_STATES_MAX=128u -DX_INDEX_MIN=2u -DJ_OPS_MAX=64 -DPF_RACE_CELLS_MAX=512u -DPF_FUZZ

fuzz: $(FUZZERS)
build-fuzz/%: harness/fuzz/%.c $(CORE) $(JUDGE_LIB) $(FAULTS) $(wildcard harness/*/*.h)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) -o $@ $< $(CORE) $(JUDGE_LIB) $(FAULTS) -lz -lpthread

check:
	@python3 harness/tests/check.py $(CHECK)

# Figures, with the machine they are of. BENCH=--quick for a minute.
bench: tests
	@python3 -m harness.bench.run $(BENCH)

lint:
	@python3 harness/tests/lint.py

clean:
	rm -rf build build-asan build-fuzz build-small

.PHONY: all tests fuzz check bench lint clean
.SECONDARY:
