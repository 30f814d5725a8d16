build-tsan/harness/core/token.o: harness/core/token.c \
 harness/core/token.h
harness/core/token.h:
