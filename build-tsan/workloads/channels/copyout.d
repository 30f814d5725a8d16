build-tsan/workloads/channels/copyout.o: workloads/channels/copyout.c \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/channel_probe.h
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/channel_probe.h:
