build-tsan/workloads/faults/thaw.o: workloads/faults/thaw.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
