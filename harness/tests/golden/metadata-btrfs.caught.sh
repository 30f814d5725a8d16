# Both copies of the root of all trees are damaged: there is nothing that btrfs check could open, with data or without.
$ btrfs check --readonly
checksum verify failed on 30687232 wanted 0x12d468b3 found 0x153105c9
checksum verify failed on 30687232 wanted 0x12d468b3 found 0x153105c9
Csum didn't match
Couldn't read tree root
ERROR: cannot open file system
Opening filesystem to check...
exit 1
