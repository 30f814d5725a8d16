build-tsan/workloads/channels/rdma_common.o: \
 workloads/channels/rdma_common.c harness/core/clock.h \
 workloads/channels/rdma_common.h harness/core/channel.h \
 harness/core/file.h
harness/core/clock.h:
workloads/channels/rdma_common.h:
harness/core/channel.h:
harness/core/file.h:
