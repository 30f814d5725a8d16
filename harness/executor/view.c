// SPDX-License-Identifier: GPL-2.0
/* view.c - the bytes of a file through its mapping, a pin of it, read(2), or O_DIRECT. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "../../workloads/channels/held_read.h"
#include "../core/guard.h"
#include "exec.h"

int view_open(struct pf_file *f, enum pf_view view, int *fd)
{
	char path[64];

	*fd = f->fd;
	if (view == PF_VIEW_MMAP || view == PF_VIEW_GUP)
		return f->map ? 0 : -ENODATA;
	if (view != PF_VIEW_DIRECT)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	*fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	return *fd < 0 ? -errno : 0;
}

size_t view_read(struct pf_file *f, int fd, enum pf_view view, uint8_t *buf, uint64_t off,
		 size_t len, int *err)
{
	size_t copied;
	ssize_t n;

	*err = 0;
	if (view == PF_VIEW_MMAP) {
		copied = pf_guarded_copy(buf, f->map + off, len);
		if (copied < len)
			*err = EFAULT;
		return copied;
	}
	if (view == PF_VIEW_GUP) {
		n = held_read_now(buf, f->map + off, len);
		*err = n < 0 ? (int)-n : (size_t)n < len ? EFAULT : 0;
		return n < 0 ? 0 : (size_t)n;
	}
	/* O_DIRECT wants whole blocks; the tail past the end of the file reads short. */
	if (view == PF_VIEW_DIRECT)
		len = (len + VIEW_BLOCK_BYTES - 1) / VIEW_BLOCK_BYTES * VIEW_BLOCK_BYTES;
	n = pread(fd, buf, len, (off_t)off);
	if (n < 0) {
		*err = errno;
		return 0;
	}
	return (size_t)n;
}
