# All was let go of, and the filesystem is unmounted.
$ umount /run/fake/mnt
exit 0
