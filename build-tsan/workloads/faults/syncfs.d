build-tsan/workloads/faults/syncfs.o: workloads/faults/syncfs.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
