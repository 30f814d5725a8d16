build-tsan/harness/executor/worker.o: harness/executor/worker.c \
 harness/executor/../core/clock.h harness/executor/exec.h \
 harness/executor/../core/channel.h harness/executor/../core/file.h \
 harness/executor/../core/fault.h harness/executor/../core/history.h \
 harness/executor/../core/seq.h harness/executor/../core/fault.h
harness/executor/../core/clock.h:
harness/executor/exec.h:
harness/executor/../core/channel.h:
harness/executor/../core/file.h:
harness/executor/../core/fault.h:
harness/executor/../core/history.h:
harness/executor/../core/seq.h:
harness/executor/../core/fault.h:
