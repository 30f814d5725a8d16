// SPDX-License-Identifier: GPL-2.0
/*
 * behind.c - from a file's offset to a block of the device under its mount; see behind.h.
 *
 * FIEMAP says where a block lies. For XFS and ext4 that is an offset on the device; for btrfs it is
 * an address in its logical space, which the chunk tree (BTRFS_IOC_TREE_SEARCH) maps to a stripe of
 * the device. That the answer is right is shown by the cells found there.
 */
#include <ctype.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "../../harness/core/cell.h"
#include "behind.h"
#include "state.h"

#define PATH_BYTES 256

/* Decode the \ooo escapes of mountinfo in place. */
static void unescape(char *text)
{
	char *to = text;

	for (char *from = text; *from; to++) {
		unsigned int value;

		if (*from == '\\' && isdigit((unsigned char)from[1]) &&
		    sscanf(from + 1, "%3o", &value) == 1) {
			*to = (char)value;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* The mount's source, by the mount's id: one mount point may hide another. 0 or -errno. */
static int mount_source(int fd, char *fstype, char *source)
{
	char line[2048], *right;
	struct statx stx;
	unsigned int id;
	int ret = -ENOENT;
	FILE *f;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0)
		return -errno;
	f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	while (ret && fgets(line, sizeof(line), f)) {
		right = strstr(line, " - ");
		if (!right || sscanf(line, "%u", &id) != 1 || id != stx.stx_mnt_id)
			continue;
		if (sscanf(right, " - %63s %255s", fstype, source) == 2)
			ret = 0;
	}
	fclose(f);
	unescape(source);
	return ret;
}

/* Does the file @path hold @text (in its first page)? */
static bool file_has(const char *path, const char *text)
{
	char bytes[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, bytes, sizeof(bytes) - 1);
	close(fd);
	bytes[n > 0 ? n : 0] = '\0';
	return strstr(bytes, text) != NULL;
}

/* NULL if block device @dev is the harness's own, else why it cannot be shown to be. */
static const char *not_ours(dev_t dev)
{
	char path[PATH_BYTES], link[PATH_BYTES];
	const char *name;
	struct stat root;
	ssize_t n;

	if (stat("/", &root) < 0 || root.st_dev == dev)
		return "the device is the one that / is on";
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	name = strrchr(link, '/');
	if (!name)
		return "the device is not in sysfs";
	if (!strncmp(name + 1, "loop", 4)) {
		strcat(path, "/loop/backing_file");
		if (file_has(path, "/pinfault-"))
			return NULL;
		return "the loop device is not over an image of ours";
	}
	/* A guest is made for one run and thrown away; its disks are files of that run. */
	if (file_has("/proc/cmdline", "pinfault.agent=") &&
	    (!strncmp(name + 1, "vd", 2) || !strncmp(name + 1, "pmem", 4)))
		return NULL;
	return "the device is not one the harness made";
}

static int refuse(struct pf_fault_call *c, const char *why)
{
	c->why = why;
	return -EOPNOTSUPP;
}

/* Open the device under the file's mount. Its fd, or -errno. */
static int open_device(struct pf_fault_call *c, bool *is_btrfs)
{
	char fstype[64] = "", source[PATH_BYTES] = "";
	struct stat st, file_st;
	const char *why;
	int fd, ret;

	ret = mount_source(c->file->fd, fstype, source);
	if (ret)
		return ret;
	*is_btrfs = !strcmp(fstype, "btrfs");
	if (stat(source, &st) < 0 || !S_ISBLK(st.st_mode))
		return refuse(c, "there is no device under this filesystem");
	if (fstat(c->file->fd, &file_st) < 0)
		return -errno;
	/* btrfs gives each subvolume a number of its own; elsewhere it is the device's. */
	if (!*is_btrfs && file_st.st_dev != st.st_rdev)
		return refuse(c, "the mount's source is not the device of its files");
	why = not_ours(st.st_rdev);
	if (why)
		return refuse(c, why);
	fd = open(source, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 && (errno == EBUSY || errno == EPERM))
		return refuse(c, "this kernel lets nobody write to the device of a mount");
	return fd < 0 ? -errno : fd;
}

/* The stripe of @chunk that holds @logical; mirrors beyond the first are not touched. */
static int in_chunk(const struct btrfs_chunk *chunk, uint64_t start, uint64_t logical,
		    uint64_t *physical)
{
	uint64_t striped = BTRFS_BLOCK_GROUP_RAID0 | BTRFS_BLOCK_GROUP_RAID10 |
			   BTRFS_BLOCK_GROUP_RAID5 | BTRFS_BLOCK_GROUP_RAID6;

	if (logical < start || logical - start >= le64toh(chunk->length))
		return -ENODATA;
	/* Data is "single" on one device. On several copies a repair would be no lie. */
	if ((le64toh(chunk->type) & striped) || le16toh(chunk->num_stripes) != 1)
		return -EOPNOTSUPP;
	*physical = le64toh(chunk->stripe.offset) + (logical - start);
	return 0;
}

static int btrfs_physical(int fd, uint64_t logical, uint64_t *physical)
{
	struct btrfs_ioctl_search_args args = {
		.key = {
			.tree_id = BTRFS_CHUNK_TREE_OBJECTID,
			.min_objectid = BTRFS_FIRST_CHUNK_TREE_OBJECTID,
			.max_objectid = BTRFS_FIRST_CHUNK_TREE_OBJECTID,
			.min_type = BTRFS_CHUNK_ITEM_KEY,
			.max_type = BTRFS_CHUNK_ITEM_KEY,
			.max_offset = UINT64_MAX,
			.max_transid = UINT64_MAX,
			.nr_items = 64, /* more chunks than an image of ours can have */
		},
	};
	size_t at = 0;

	if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &args) < 0)
		return -errno;
	for (uint32_t i = 0; i < args.key.nr_items; i++) {
		struct btrfs_ioctl_search_header head;
		struct btrfs_chunk chunk;
		int ret;

		memcpy(&head, args.buf + at, sizeof(head));
		memcpy(&chunk, args.buf + at + sizeof(head), sizeof(chunk));
		at += sizeof(head) + head.len;
		ret = in_chunk(&chunk, head.offset, logical, physical);
		if (ret != -ENODATA)
			return ret;
	}
	return -ENODATA;
}

/* Where the block at @off lies on the device. 0 or -errno. */
static int locate(struct pf_fault_call *c, bool is_btrfs, uint64_t off_bytes, uint64_t *physical)
{
	struct pf_extents x;
	int ret = pf_extents(c->file->fd, off_bytes, BEHIND_BLOCK_BYTES, &x);

	if (ret)
		return ret;
	if (x.mapped_bytes != BEHIND_BLOCK_BYTES || x.unwritten_bytes || x.delalloc_bytes ||
	    x.shared_bytes || !x.first_physical)
		return -ENODATA;
	*physical = x.first_physical;
	return is_btrfs ? btrfs_physical(c->file->fd, x.first_physical, physical) : 0;
}

int behind_read(struct behind *b)
{
	ssize_t n = pread(b->dev_fd, b->block, BEHIND_BLOCK_BYTES, (off_t)b->physical_bytes);

	return n == BEHIND_BLOCK_BYTES ? 0 : n < 0 ? -errno : -EIO;
}

int behind_write(struct behind *b)
{
	ssize_t n = pwrite(b->dev_fd, b->block, BEHIND_BLOCK_BYTES, (off_t)b->physical_bytes);

	if (n != BEHIND_BLOCK_BYTES)
		return n < 0 ? -errno : -EIO;
	return fdatasync(b->dev_fd) < 0 ? -errno : 0;
}

void behind_close(struct behind *b)
{
	if (b->dev_fd >= 0)
		close(b->dev_fd);
	free(b->block);
	b->dev_fd = -1;
	b->block = NULL;
}

/* Does the block begin with a cell of this file, made for this place? */
static bool holds_ours(const struct behind *b, const struct pf_file *f, uint64_t off_bytes)
{
	struct pf_cell_id id;

	return pf_cell_decode(b->block, &id) == PF_CELL_VALID && id.file == f->id &&
	       id.off_bytes == off_bytes;
}

int behind_find(struct pf_fault_call *c, uint64_t off_bytes, struct behind *b)
{
	bool is_btrfs = false;
	int ret;

	*b = (struct behind){ .dev_fd = -1 };
	if (state_is_root_fs(c->file->fd))
		return refuse(c, "the file is on the filesystem that / is on");
	ret = open_device(c, &is_btrfs);
	if (ret < 0)
		return ret;
	b->dev_fd = ret;
	if (posix_memalign((void **)&b->block, BEHIND_BLOCK_BYTES, BEHIND_BLOCK_BYTES)) {
		behind_close(b);
		return -ENOMEM;
	}
	ret = fsync(c->file->fd) < 0 ? -errno : 0;
	ret = ret ? ret : locate(c, is_btrfs, off_bytes, &b->physical_bytes);
	ret = ret ? ret : behind_read(b);
	if (!ret && !holds_ours(b, c->file, off_bytes))
		ret = -ENODATA;
	if (ret)
		behind_close(b);
	return ret;
}

void behind_drop_cache(const struct pf_file *f)
{
	if (f->map)
		madvise(f->map, f->map_bytes, MADV_DONTNEED);
	posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
}
