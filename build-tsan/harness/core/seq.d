build-tsan/harness/core/seq.o: harness/core/seq.c harness/core/cell.h \
 harness/core/seq.h harness/core/fault.h harness/core/file.h
harness/core/cell.h:
harness/core/seq.h:
harness/core/fault.h:
harness/core/file.h:
