build-tsan/workloads/channels/dio_read.o: workloads/channels/dio_read.c \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/channel_probe.h workloads/channels/held_io.h \
 workloads/channels/held_source.h
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/channel_probe.h:
workloads/channels/held_io.h:
workloads/channels/held_source.h:
