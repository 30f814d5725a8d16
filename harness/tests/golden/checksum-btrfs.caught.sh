# btrfs check finds data that is not what it was summed as, and without the data it finds nothing.
$ btrfs check --readonly --check-data-csum /dev/fake
[5/7] checking csums against data
mirror 1 bytenr 13631488 csum 0x61d47a58 expected csum 0xeb85f6ce
ERROR: errors found in csum tree
Opening filesystem to check...
found 212992 bytes used, error(s) found
total csum bytes: 64
 referenced 65536
exit 1
