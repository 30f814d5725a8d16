# fio reads its files again after the remount, verifies every block, and is content: exit 0.
$ fio --section=still-check
still-check: (groupid=0, jobs=2): err= 0: pid=412: Tue Nov 24 20:11:02 2026
  read: IOPS=8192, BW=32.0MiB/s (33.6MB/s)(1024KiB/31msec)
exit 0
