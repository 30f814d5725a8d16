build-tsan/workloads/faults/unlink.o: workloads/faults/unlink.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
