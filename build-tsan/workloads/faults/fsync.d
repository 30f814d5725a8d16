build-tsan/workloads/faults/fsync.o: workloads/faults/fsync.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
