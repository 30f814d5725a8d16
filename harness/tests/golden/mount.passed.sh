# After the unmount and the fsck it is mounted again, and files are looked at once more.
$ mount -t xfs /dev/fake /run/fake/mnt
exit 0
