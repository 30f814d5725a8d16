build-tsan/workloads/faults/sync_file_range.o: \
 workloads/faults/sync_file_range.c workloads/faults/state.h \
 harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
