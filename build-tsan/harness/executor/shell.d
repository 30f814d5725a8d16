build-tsan/harness/executor/shell.o: harness/executor/shell.c \
 harness/executor/../core/clock.h harness/executor/../core/token.h \
 harness/executor/exec.h harness/executor/../core/channel.h \
 harness/executor/../core/file.h harness/executor/../core/fault.h \
 harness/executor/../core/history.h harness/executor/../core/seq.h \
 harness/executor/../core/fault.h
harness/executor/../core/clock.h:
harness/executor/../core/token.h:
harness/executor/exec.h:
harness/executor/../core/channel.h:
harness/executor/../core/file.h:
harness/executor/../core/fault.h:
harness/executor/../core/history.h:
harness/executor/../core/seq.h:
harness/executor/../core/fault.h:
