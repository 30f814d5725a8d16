# The kernel refuses the filesystem that it had mounted a moment ago: its log cannot be replayed.
$ mount -t xfs /dev/fake /run/fake/mnt
mount: /run/fake/mnt: mount(2) system call failed: Structure needs cleaning.
       dmesg(1) may have more information after failed mount system call.
exit 32
