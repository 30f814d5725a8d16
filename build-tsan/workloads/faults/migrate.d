build-tsan/workloads/faults/migrate.o: workloads/faults/migrate.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
