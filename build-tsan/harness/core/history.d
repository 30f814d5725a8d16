build-tsan/harness/core/history.o: harness/core/history.c \
 harness/core/clock.h harness/core/history.h harness/core/token.h
harness/core/clock.h:
harness/core/history.h:
harness/core/token.h:
