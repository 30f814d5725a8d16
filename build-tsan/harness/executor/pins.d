build-tsan/harness/executor/pins.o: harness/executor/pins.c \
 harness/executor/exec.h harness/executor/../core/channel.h \
 harness/executor/../core/file.h harness/executor/../core/fault.h \
 harness/executor/../core/history.h harness/executor/../core/seq.h \
 harness/executor/../core/fault.h
harness/executor/exec.h:
harness/executor/../core/channel.h:
harness/executor/../core/file.h:
harness/executor/../core/fault.h:
harness/executor/../core/history.h:
harness/executor/../core/seq.h:
harness/executor/../core/fault.h:
