// SPDX-License-Identifier: GPL-2.0
/* channel_probe.c - try a channel on memory that no filesystem has a say in. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel_probe.h"

#define PROBE_BYTES 8192u
#define PROBE_DEADLINE_MS 10000u

/*
 * One write, then one held write. Can they be done at all? What becomes of the data is for the
 * judge to say: a channel that loses it is not one that cannot run here.
 */
static int probe_io(struct pf_channel *ch, struct pf_file *f, struct pf_io *io)
{
	long n;

	*io = (struct pf_io){
		.file = f, .len_bytes = PROBE_BYTES, .data = f->map + 2 * PROBE_BYTES,
	};
	n = ch->ops->write(ch, io);
	if (n >= 0 && ch->ops->hold) {
		io->off_bytes = PROBE_BYTES;
		n = ch->ops->hold(ch, io);
		if (!n)
			n = ch->ops->land(ch, io);
	}
	return n < 0 ? (int)n : 0;
}

int channel_probe(const struct pf_channel_ops *ops, const char *variant, char *why,
		  size_t why_bytes)
{
	struct pf_channel ch = {
		.ops = ops, .variant = variant, .scratch_dir = "/tmp",
		.deadline_ms = PROBE_DEADLINE_MS,
	};
	struct pf_file f = { .name = "probe", .id = 1, .fd = -1, .map_bytes = 3 * PROBE_BYTES };
	struct pf_io io = { .len_bytes = 0 };
	int rc;

	f.fd = memfd_create("pinfault-probe", MFD_CLOEXEC);
	f.map = MAP_FAILED;
	if (f.fd >= 0 && !ftruncate(f.fd, (off_t)f.map_bytes))
		f.map = mmap(NULL, f.map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	if (f.map == MAP_FAILED) {
		rc = -errno;
		snprintf(why, why_bytes, "a mapped memfd: %s", strerror(-rc));
		close(f.fd);
		return rc;
	}
	memset(f.map + 2 * PROBE_BYTES, 0x5a, PROBE_BYTES);
	rc = ops->open ? ops->open(&ch) : 0;
	if (!rc && ops->pin)
		rc = ops->pin(&ch, &f);
	if (!rc)
		rc = probe_io(&ch, &f, &io);
	if (rc)
		snprintf(why, why_bytes, "%s%s%s", io.detail[0] ? io.detail : ch.detail,
			 io.detail[0] || ch.detail[0] ? ": " : "", strerror(-rc));
	if (ops->close)
		ops->close(&ch);
	munmap(f.map, f.map_bytes);
	close(f.fd);
	return rc;
}
