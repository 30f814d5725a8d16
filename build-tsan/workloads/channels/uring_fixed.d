build-tsan/workloads/channels/uring_fixed.o: \
 workloads/channels/uring_fixed.c \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/channel_probe.h workloads/channels/uring_why.h
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/channel_probe.h:
workloads/channels/uring_why.h:
