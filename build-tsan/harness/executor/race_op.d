build-tsan/harness/executor/race_op.o: harness/executor/race_op.c \
 harness/executor/../core/cell.h harness/executor/../core/guard.h \
 harness/executor/race.h harness/executor/../core/racelog_write.h \
 harness/executor/../core/racelog.h harness/executor/../core/rng.h \
 harness/executor/exec.h harness/executor/../core/channel.h \
 harness/executor/../core/file.h harness/executor/../core/fault.h \
 harness/executor/../core/history.h harness/executor/../core/seq.h \
 harness/executor/../core/fault.h
harness/executor/../core/cell.h:
harness/executor/../core/guard.h:
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
