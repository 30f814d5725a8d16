build-tsan/workloads/channels/store.o: workloads/channels/store.c \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/../../harness/core/guard.h \
 workloads/channels/channel_probe.h
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/../../harness/core/guard.h:
workloads/channels/channel_probe.h:
