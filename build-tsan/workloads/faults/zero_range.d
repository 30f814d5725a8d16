build-tsan/workloads/faults/zero_range.o: workloads/faults/zero_range.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
