build-tsan/workloads/channels/pvm_writev.o: \
 workloads/channels/pvm_writev.c \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/../../harness/core/clock.h \
 workloads/channels/channel_probe.h workloads/channels/held_io.h \
 workloads/channels/held_source.h
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/../../harness/core/clock.h:
workloads/channels/channel_probe.h:
workloads/channels/held_io.h:
workloads/channels/held_source.h:
