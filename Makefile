# SPDX-License-Identifier: GPL-2.0
# make            build/pinfault-exec, build/pinfault-judge
# make check      everything that can fail, from a bare machine (see README)
# make lint       cppcheck, clang-tidy, a Python check
# A new channel, fault or core file is picked up by its place; nothing here names one.

BUILD   ?= build
CC      ?= gcc
PKGS    := fuse3 liburing libibverbs
CFLAGS  ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE= -Iharness/core -Wall -Wextra -Wshadow -Werror $(CFLAGS) $(SAN) \
	  $(shell pkg-config --cflags $(PKGS))
LDLIBS  = $(shell pkg-config --libs $(PKGS)) -lpthread

CORE     := $(wildcard harness/core/*.c)
EXEC     := $(wildcard harness/executor/*.c)
JUDGE    := $(wildcard harness/judge/*.c)
CHANNELS := $(wildcard workloads/channels/*.c)
FAULTS   := $(wildcard workloads/faults/*.c)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

all: $(BUILD)/pinfault-exec $(BUILD)/pinfault-judge

$(BUILD)/pinfault-exec: $(call obj,$(CORE) $(EXEC) $(CHANNELS) $(FAULTS))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(BUILD)/pinfault-judge: $(call obj,$(CORE) $(JUDGE))
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

clean:
	rm -rf $(BUILD)

.PHONY: all clean
