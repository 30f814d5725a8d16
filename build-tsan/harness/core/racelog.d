build-tsan/harness/core/racelog.o: harness/core/racelog.c \
 harness/core/clock.h harness/core/racelog_write.h harness/core/racelog.h
harness/core/clock.h:
harness/core/racelog_write.h:
harness/core/racelog.h:
