build-tsan/workloads/faults/sabotage_swap.o: \
 workloads/faults/sabotage_swap.c workloads/faults/state.h \
 harness/core/fault.h harness/core/file.h
workloads/faults/state.h:
harness/core/fault.h:
harness/core/file.h:
