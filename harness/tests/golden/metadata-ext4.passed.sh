# e2fsck -fn of a filesystem in order: exit 0.
$ e2fsck -fn /dev/fake
Pass 4: Checking reference counts
Pass 5: Checking group summary information
/dev/fake: 13/8240 files (0.0% non-contiguous), 1815/163840 blocks
exit 0
