build-tsan/workloads/faults/drop_caches.o: workloads/faults/drop_caches.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
