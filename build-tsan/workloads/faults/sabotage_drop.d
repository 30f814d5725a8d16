build-tsan/workloads/faults/sabotage_drop.o: \
 workloads/faults/sabotage_drop.c workloads/faults/state.h \
 harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
