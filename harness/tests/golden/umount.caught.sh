# Everything is closed and every process of the case is gone, and yet the filesystem stays busy for as long as anybody
# has patience: something still holds it.
$ umount /run/fake/mnt
umount: /run/fake/mnt: target is busy.
exit 32
