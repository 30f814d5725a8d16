# A block of fio's own file, which no case ever named, holds something else: what a case wrote went to a block that is
# no longer its file's.
$ fio --section=still-check
verify: bad magic header c0de, wanted acca at file /mnt/neighbour/still.0 offset 40960, length 4096 (requested block: offset=40960, length=4096)
fio: pid=412, err=84/file:io_u.c:2182, func=io_u_queued_complete, error=Invalid or incomplete multibyte or wide character
exit 1
