build-tsan/workloads/channels/uring_read.o: \
 workloads/channels/uring_read.c \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/channel_probe.h workloads/channels/held_io.h \
 workloads/channels/held_source.h workloads/channels/uring_why.h
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/channel_probe.h:
workloads/channels/held_io.h:
workloads/channels/held_source.h:
workloads/channels/uring_why.h:
