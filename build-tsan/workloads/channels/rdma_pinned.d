build-tsan/workloads/channels/rdma_pinned.o: \
 workloads/channels/rdma_pinned.c workloads/channels/rdma_common.h \
 harness/core/channel.h harness/core/file.h
workloads/channels/rdma_common.h:
harness/core/channel.h:
harness/core/file.h:
