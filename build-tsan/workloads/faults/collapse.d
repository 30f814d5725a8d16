build-tsan/workloads/faults/collapse.o: workloads/faults/collapse.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
