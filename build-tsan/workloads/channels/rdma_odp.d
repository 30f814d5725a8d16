build-tsan/workloads/channels/rdma_odp.o: workloads/channels/rdma_odp.c \
 workloads/channels/rdma_common.h harness/core/channel.h \
 harness/core/file.h
workloads/channels/rdma_common.h:
harness/core/channel.h:
harness/core/file.h:
