build-tsan/workloads/channels/held_io.o: workloads/channels/held_io.c \
 workloads/channels/../../harness/core/clock.h \
 workloads/channels/held_io.h \
 workloads/channels/../../harness/core/channel.h \
 workloads/channels/../../harness/core/file.h \
 workloads/channels/held_source.h
workloads/channels/../../harness/core/clock.h:
workloads/channels/held_io.h:
workloads/channels/../../harness/core/channel.h:
workloads/channels/../../harness/core/file.h:
workloads/channels/held_source.h:
