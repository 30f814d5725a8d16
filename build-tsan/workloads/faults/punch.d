build-tsan/workloads/faults/punch.o: workloads/faults/punch.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
