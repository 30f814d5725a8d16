// SPDX-License-Identifier: GPL-2.0
/* hold.c - steps that begin something and withhold its data, and what lands it. */
#include "../../workloads/channels/held_read.h"
#include "case.h"

typedef unsigned long long ull;

/*
 * Has @io come back, @n being what @land said last of it? What its channel has waited for in vain
 * may write for as long as it is in the kernel, so it has not returned, and until then nor does the
 * step: whoever watches that one sees whether it sleeps for a good reason or is late. A pool has no
 * time for that; there it stays without a return.
 */
static bool came_back(struct case_run *c, struct pf_channel *ch, struct pf_io *io, uint32_t op,
		      long *n, long (*land)(struct pf_channel *ch, struct pf_io *io))
{
	while (io->out && !c->pool)
		*n = land(ch, io);
	if (io->out)
		pf_history_line(&c->history, "note op%%20%u%%20is%%20in%%20the%%20kernel%%20still",
				op);
	return !io->out;
}

void step_hold(struct step_job *j)
{
	struct case_run *c = j->c;
	const struct pf_step *s = j->step;
	struct pf_file *f = &c->files[s->file];
	struct held *held = &c->held[s->hold];
	struct pin_counters before;
	int before_rc, rc;
	bool pins;
	long n;

	*held = (struct held){
		.io = { .file = f,
			.off_bytes = s->off_bytes,
			.len_bytes = s->len_bytes,
			.data = j->data },
		.op = pf_history_reserve(&c->history),
		.inflight = c->channel.ops->hold_kind == PF_HOLD_INFLIGHT,
	};
	j->job.op = held->op;
	stamp_cells(c, f, held->op, s->off_bytes, j->data, s->len_bytes);
	if (!held->inflight) {
		held->out = true;
		return;
	}
	pins = c->channel.ops->class != PF_CLASS_SYSCALL;
	before_rc = c->pool ? -ENODATA : pins ? pin_counters_read(&before) : 0;
	write_begins(c, f, pins, &held->marks);
	pf_history_inv_as(&c->history, held->op, "write %s %llu %llu", f->name,
			  (ull)s->off_bytes, (ull)s->len_bytes);
	pf_history_flush(&c->history);
	rc = c->channel.ops->hold(&c->channel, &held->io);
	if (rc) {
		if (came_back(c, &c->channel, &held->io, held->op, &n, c->channel.ops->land))
			pf_history_ret(&c->history, held->op, rc, held->io.detail);
		return;
	}
	held->out = true;
	if (pins)
		say_pinned(c, held->op, &before, before_rc, true);
}

void step_hold_read(struct step_job *j)
{
	struct case_run *c = j->c;
	const struct pf_step *s = j->step;
	struct held *held = &c->held[s->hold];
	struct pin_counters before;
	int before_rc = c->pool ? -ENODATA : pin_counters_read(&before), rc;
	long n;

	*held = (struct held){
		.io = { .file = &c->files[s->file],
			.off_bytes = s->off_bytes,
			.len_bytes = s->len_bytes,
			.into = j->look.buf },
		.look = &j->look,
		.inflight = true,
	};
	held->op = look_begin(held->look, &held->io, PF_VIEW_GUP);
	j->job.op = held->op;
	pf_history_flush(&c->history);
	rc = held_uffd_hold(&c->reader, &held->io);
	held->out = !rc;
	if (rc && came_back(c, &c->reader, &held->io, held->op, &n, held_uffd_land))
		look_end(held->look, &held->io, PF_VIEW_GUP, held->op, rc);
	else if (!rc)
		say_pinned(c, held->op, &before, before_rc, true);
}

void land_held(struct case_run *c, struct held *held)
{
	const struct pf_io *io = &held->io;
	long n;

	if (!held->out)
		return; /* the hold failed: its result is in the history already */
	held->out = false;
	if (held->look) {
		n = held_uffd_land(&c->reader, &held->io);
		if (came_back(c, &c->reader, &held->io, held->op, &n, held_uffd_land))
			look_end(held->look, &held->io, PF_VIEW_GUP, held->op, n);
		return;
	}
	if (held->inflight) {
		n = c->channel.ops->land(&c->channel, &held->io);
		if (!came_back(c, &c->channel, &held->io, held->op, &n, c->channel.ops->land))
			return;
	} else {
		write_begins(c, io->file, true, &held->marks);
		pf_history_inv_as(&c->history, held->op, "write %s %llu %llu", io->file->name,
				  (ull)io->off_bytes, (ull)io->len_bytes);
		pf_history_flush(&c->history);
		n = c->channel.ops->write(&c->channel, &held->io);
	}
	pf_history_ret(&c->history, held->op, n, held->io.detail);
	write_ended(c, io, n, held->op, &held->marks);
}
