# The same damage on ext4. e2fsck -n answers its own question with no, and exits 4: errors left uncorrected.
$ e2fsck -fn /dev/fake
Pass 4: Checking reference counts
Inode 13 ref count is 77, should be 1.  Fix? no

Pass 5: Checking group summary information

/dev/fake: ********** WARNING: Filesystem still has errors **********

/dev/fake: 13/8240 files (0.0% non-contiguous), 1815/163840 blocks
exit 4
