build-tsan/harness/executor/view.o: harness/executor/view.c \
 harness/executor/../core/guard.h harness/executor/exec.h \
 harness/executor/../core/channel.h harness/executor/../core/file.h \
 harness/executor/../core/fault.h harness/executor/../core/history.h \
 harness/executor/../core/seq.h harness/executor/../core/fault.h
harness/executor/../core/guard.h:
harness/executor/exec.h:
harness/executor/../core/channel.h:
harness/executor/../core/file.h:
harness/executor/../core/fault.h:
harness/executor/../core/history.h:
harness/executor/../core/seq.h:
harness/executor/../core/fault.h:
