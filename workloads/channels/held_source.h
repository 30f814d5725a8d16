/* SPDX-License-Identifier: GPL-2.0 */
/*
 * held_source.h - a file whose reads answer when told to.
 *
 * A FUSE server in a thread of this process serves one file. Each I/O is offered a slot: a stretch
 * of that file nobody read before, backed by the caller's data. Reads of a withheld slot pile up in
 * the server until the slot is released; what the kernel pinned to read into stays pinned
 * meanwhile.
 *
 *	struct held_source *src = NULL;
 *	held_source_start(&src, deadline_ms, detail, sizeof(detail));
 *	held_source_offer(src, nr, data, len_bytes, true);
 *	  ... another thread: pread(held_source_fd(src), dst, len_bytes, held_source_pos(src, nr));
 *	  ... poll held_source_asked_fd(src) until held_source_asked(src, nr) == len_bytes
 *	held_source_release(src, nr);
 *	  ... the pread returns
 *	held_source_retire(src, nr);
 *	held_source_stop(src);
 *
 * Nothing is ever mounted anywhere: the mount is detached from the start (fsopen, fsmount), and the
 * server thread has a descriptor table of its own, so that /dev/fuse closes with that thread. When
 * the process is killed the server goes first, the kernel aborts the connection, and readers that
 * nothing else could wake come back with ECONNABORTED. (With a shared table the reader, which
 * sleeps uninterruptibly, would keep /dev/fuse open and itself alive for ever.)
 *
 * Kernel: fs/fuse/{dev,file,inode}.c; needs Linux 5.9 (close_range) and CAP_SYS_ADMIN.
 */
#ifndef PF_HELD_SOURCE_H
#define PF_HELD_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../harness/core/channel.h"

#define HELD_SLOTS (PF_HOLDS_MAX + PF_WRITES_MAX) /* one for each hold, then plain writes */

struct held_source;

/*
 * Bring up the server and open its file. 0, or -errno with a word in @detail about what was refused
 * (EPERM: not root; ENODEV: no FUSE in this kernel). One thread at a time may call this and all
 * below. @deadline_ms bounds the start.
 */
int held_source_start(struct held_source **out, unsigned int deadline_ms, char *detail,
		      size_t detail_bytes);
/* The served file, O_RDONLY and O_DIRECT; the source's own. */
int held_source_fd(const struct held_source *s);
/* Where slot @nr lies in the file, in bytes: fresh for every offer, a multiple of 8 MiB. */
uint64_t held_source_pos(const struct held_source *s, unsigned int nr);
/*
 * Back slot @nr (< HELD_SLOTS, retired) with @data, borrowed until it is retired. Withheld, reads
 * of it wait for held_source_release; otherwise they are answered at once.
 */
void held_source_offer(struct held_source *s, unsigned int nr, const void *data, size_t len_bytes,
		       bool withhold);
/* How many bytes of slot @nr the kernel has asked for. */
size_t held_source_asked(struct held_source *s, unsigned int nr);
/*
 * An eventfd that becomes readable when held_source_asked of any slot has grown; read it to reset.
 */
int held_source_asked_fd(const struct held_source *s);
/* Answer what was withheld of slot @nr, and what is still to come. */
void held_source_release(struct held_source *s, unsigned int nr);
/* Forget the data of slot @nr; reads of it that are still to come, or withheld, fail with EIO. */
void held_source_retire(struct held_source *s, unsigned int nr);
/*
 * Abort the connection: reads in flight fail, no data of any slot is touched after this returned 0.
 * -ETIMEDOUT if the server did not end in time (then the source must not be freed).
 */
int held_source_abort(struct held_source *s, unsigned int deadline_ms);
/* Close and free an aborted source; accepts NULL. Does the abort itself if it was not done. */
void held_source_stop(struct held_source *s);

#endif
