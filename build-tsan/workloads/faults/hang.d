build-tsan/workloads/faults/hang.o: workloads/faults/hang.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
