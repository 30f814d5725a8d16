// SPDX-License-Identifier: GPL-2.0
/*
 * dio_read.c - an O_DIRECT read(2) whose destination is the mapping.
 *
 * Path: the reader's pages are pinned for the length of one I/O and filled behind the page table's
 * back. Plain form: fuse_direct_IO() -> iov_iter_extract_pages (FOLL_PIN from 6.15; a plain
 * reference before), filled when the FUSE server answers. Variant "loop": blkdev_direct_IO() ->
 * bio_iov_iter_get_pages (FOLL_PIN from 6.5), a bio on a loop device over the same FUSE file; what
 * is held is the block layer's pin, as it is on a slow disk. The loop device does direct I/O
 * itself: through the page cache it would read page by page, and one request at the server would
 * not show that the whole bio exists.
 *
 * Can show: data landing in pages that a truncate, punch or reflink has taken from the file, or
 * that writeback has cleaned ("dirty pages without buffers"); on DAX, blocks of another file
 * overwritten, unless the layout change waits for the pin.
 *
 * Alignment: FUSE takes any memory alignment; the loop device refuses what the block layer refuses.
 *
 * Source: Documentation/core-api/pin_user_pages.rst, case 1; xfstests generic/503; open(2),
 * O_DIRECT.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../harness/core/channel.h"
#include "channel_probe.h"
#include "held_io.h"

#define LOOP_TRIES 32

struct dio_read {
	struct held_reader reader; /* first: h->arg points here */
	int fd;			   /* the FUSE file (the source's own) or the loop device */
	bool loop;
};

static long dio_read_run(struct held_io *h)
{
	struct dio_read *d = h->arg;
	ssize_t n = pread(d->fd, h->dst, h->len_bytes, (off_t)h->pos_bytes);

	return n < 0 ? -errno : n;
}

/*
 * The reader sleeps where it waits for its data, not in a page fault: it has asked for all it can.
 */
static bool dio_read_settled(const struct held_io *h)
{
	static const char *const waits[] = {
		"fuse_direct_IO",     "request_wait_answer", "__blkdev_direct_IO",
		"blkdev_direct_IO",   "submit_bio_wait",     "blk_wait_io",
		"bio_await",
	};
	int tid = atomic_load(&h->tid);

	for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++)
		if (held_io_asleep_in(tid, waits[i]))
			return true;
	return false;
}

/*
 * Put the FUSE file behind loop device @nr. 0, the device in @fd_out; -EBUSY: somebody was faster.
 */
static int loop_attach(int file_fd, int nr, int *fd_out)
{
	struct loop_config config = {
		.fd = (unsigned int)file_fd,
		.block_size = 512,
		.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
	};
	struct loop_info64 info;
	char path[32];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "/dev/loop%d", nr);
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, LOOP_CONFIGURE, &config))
		rc = -errno;
	else if (ioctl(fd, LOOP_GET_STATUS64, &info))
		rc = -errno;
	else if (!(info.lo_flags & LO_FLAGS_DIRECT_IO))
		rc = -EOPNOTSUPP; /* cleared again by AUTOCLEAR, with the close below */
	if (rc)
		close(fd);
	else
		*fd_out = fd;
	return rc;
}

static int loop_open(struct held_reader *r, struct pf_channel *ch)
{
	struct dio_read *d = (struct dio_read *)r;
	int control, nr, rc = -EBUSY;

	if (!d->loop) {
		d->fd = held_source_fd(r->src);
		return 0;
	}
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0) {
		rc = -errno;
		snprintf(ch->detail, sizeof(ch->detail), "open /dev/loop-control");
		return rc;
	}
	for (int i = 0; i < LOOP_TRIES && rc == -EBUSY; i++) {
		nr = ioctl(control, LOOP_CTL_GET_FREE);
		rc = nr < 0 ? -errno : loop_attach(held_source_fd(r->src), nr, &d->fd);
	}
	close(control);
	if (rc)
		snprintf(ch->detail, sizeof(ch->detail), "loop device with direct I/O over FUSE");
	return rc;
}

static int dio_read_open(struct pf_channel *ch)
{
	struct dio_read *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	ch->priv = d;
	d->fd = -1;
	d->loop = !strcmp(ch->variant, "loop");
	d->reader.ready = loop_open;
	return held_reader_init(&d->reader, dio_read_run, dio_read_settled);
}

static long dio_read_write(struct pf_channel *ch, struct pf_io *io)
{
	return held_reader_write(ch->priv, ch, io);
}

static int dio_read_hold(struct pf_channel *ch, struct pf_io *io)
{
	return held_reader_hold(ch->priv, ch, io);
}

static long dio_read_land(struct pf_channel *ch, struct pf_io *io)
{
	return held_reader_land(ch->priv, ch, io);
}

static void dio_read_close(struct pf_channel *ch)
{
	struct dio_read *d = ch->priv;

	ch->priv = NULL;
	if (!d)
		return;
	held_reader_land_all(&d->reader, ch);
	/* The loop device first: closing it waits for what it still has to read from the source. */
	if (d->loop && d->fd >= 0)
		close(d->fd);
	if (held_reader_close(&d->reader, ch))
		free(d);
}

static int dio_read_probe(const char *variant, char *why, size_t why_bytes);

static const char *const dio_read_variants[] = { "", "loop", NULL };

static const struct pf_channel_ops dio_read_ops = {
	.name = "dio-read",
	.summary = "O_DIRECT read(2) into the mapping, from a FUSE file",
	.class = PF_CLASS_SHORT_PIN,
	.hold_kind = PF_HOLD_INFLIGHT,
	.variants = dio_read_variants,
	.probe = dio_read_probe,
	.open = dio_read_open,
	.write = dio_read_write,
	.hold = dio_read_hold,
	.land = dio_read_land,
	.close = dio_read_close,
};
PF_CHANNEL(dio_read_ops);

static int dio_read_probe(const char *variant, char *why, size_t why_bytes)
{
	return channel_probe(&dio_read_ops, variant, why, why_bytes);
}
