build-tsan/workloads/faults/fork.o: workloads/faults/fork.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
