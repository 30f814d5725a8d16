build-tsan/workloads/channels/proc_mem.o: workloads/channels/proc_mem.c \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/channel_probe.h
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/channel_probe.h:
