build-tsan/workloads/faults/fdatasync.o: workloads/faults/fdatasync.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
