build-tsan/harness/core/guard.o: harness/core/guard.c \
 harness/core/guard.h
harness/core/guard.h:
