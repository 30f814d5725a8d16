# btrfs check reads the data and its checksums, and they agree.
$ btrfs check --readonly --check-data-csum /dev/fake
[5/7] checking csums against data
found 212992 bytes used, no error found
exit 0
