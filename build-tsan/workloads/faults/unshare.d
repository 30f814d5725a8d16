build-tsan/workloads/faults/unshare.o: workloads/faults/unshare.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
