build-tsan/harness/core/extent.o: harness/core/extent.c \
 harness/core/fault.h harness/core/file.h
harness/core/fault.h:
harness/core/file.h:
