# btrfs check, which reads the data and its checksums as well, finds nothing.
$ btrfs check --readonly --check-data-csum /dev/fake
[1/7] checking root items
[5/7] checking csums against data
Opening filesystem to check...
found 147456 bytes used, no error found
exit 0
