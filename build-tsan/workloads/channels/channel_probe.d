build-tsan/workloads/channels/channel_probe.o: \
 workloads/channels/channel_probe.c workloads/channels/channel_probe.h \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h
workloads/channels/channel_probe.h:
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
