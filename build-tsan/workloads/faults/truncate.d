build-tsan/workloads/faults/truncate.o: workloads/faults/truncate.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
