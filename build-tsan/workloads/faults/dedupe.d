build-tsan/workloads/faults/dedupe.o: workloads/faults/dedupe.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
