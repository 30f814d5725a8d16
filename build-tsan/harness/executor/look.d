build-tsan/harness/executor/look.o: harness/executor/look.c \
 harness/executor/../core/cell.h harness/executor/../core/token.h \
 harness/executor/exec.h harness/executor/../core/channel.h \
 harness/executor/../core/file.h harness/executor/../core/fault.h \
 harness/executor/../core/history.h harness/executor/../core/seq.h \
 harness/executor/../core/fault.h
harness/executor/../core/cell.h:
harness/executor/../core/token.h:
harness/executor/exec.h:
harness/executor/../core/channel.h:
harness/executor/../core/file.h:
harness/executor/../core/fault.h:
harness/executor/../core/history.h:
harness/executor/../core/seq.h:
harness/executor/../core/fault.h:
