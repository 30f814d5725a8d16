build-tsan/workloads/faults/page_out.o: workloads/faults/page_out.c \
 workloads/faults/state.h harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
