build-tsan/workloads/faults/freeze.o: workloads/faults/freeze.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
