build-tsan/harness/core/registry.o: harness/core/registry.c \
 harness/core/channel.h harness/core/file.h harness/core/fault.h
harness/core/channel.h:
harness/core/file.h:
harness/core/fault.h:
