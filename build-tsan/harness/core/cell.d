build-tsan/harness/core/cell.o: harness/core/cell.c harness/core/cell.h
harness/core/cell.h:
