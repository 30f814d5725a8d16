build-tsan/workloads/faults/sabotage_old.o: \
 workloads/faults/sabotage_old.c workloads/faults/state.h \
 harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
