build-tsan/workloads/faults/crash_logflush.o: \
 workloads/faults/crash_logflush.c workloads/faults/state.h \
 harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
