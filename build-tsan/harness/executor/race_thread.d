build-tsan/harness/executor/race_thread.o: harness/executor/race_thread.c \
 harness/executor/../core/clock.h harness/executor/race.h \
 harness/executor/../core/racelog_write.h \
 harness/executor/../core/racelog.h harness/executor/../core/rng.h \
 harness/executor/exec.h harness/executor/../core/channel.h \
 harness/executor/../core/file.h harness/executor/../core/fault.h \
 harness/executor/../core/history.h harness/executor/../core/seq.h \
 harness/executor/../core/fault.h
harness/executor/../core/clock.h:
harness/executor/race.h:
harness/executor/../core/racelog_write.h:
harness/executor/../core/racelog.h:
harness/executor/../core/rng.h:
harness/executor/exec.h:
harness/executor/../core/channel.h:
harness/executor/../core/file.h:
harness/executor/../core/fault.h:
harness/executor/../core/history.h:
harness/executor/../core/seq.h:
harness/executor/../core/fault.h:
