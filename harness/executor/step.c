// SPDX-License-Identifier: GPL-2.0
/* step.c - what the verbs of a sequence do, and what they leave in the history. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/cell.h"
#include "../core/clock.h"
#include "../core/guard.h"
#include "../core/token.h"
#include "case.h"

static const char *const prim_names[] = {
	[PF_PRIM_NONE] = "none",	 [PF_PRIM_ZERO] = "zero",     [PF_PRIM_RESIZE] = "resize",
	[PF_PRIM_COLLAPSE] = "collapse", [PF_PRIM_INSERT] = "insert", [PF_PRIM_COPY] = "copy",
	[PF_PRIM_SYNC] = "sync",	 [PF_PRIM_SYNCFS] = "syncfs", [PF_PRIM_UNLINK] = "unlink",
	[PF_PRIM_RENAME] = "rename",	 [PF_PRIM_CRASH] = "crash",
};

#define ASK_DEADLINES 10 /* of a step, for the runner to copy disks */

typedef unsigned long long ull;

void case_end(struct case_run *c, enum case_end end, const char *fmt, ...)
{
	va_list ap;

	if (__atomic_load_n(&c->end, __ATOMIC_ACQUIRE) != CASE_RAN)
		return;
	va_start(ap, fmt);
	vsnprintf(c->why, sizeof(c->why), fmt, ap);
	va_end(ap);
	__atomic_store_n(&c->end, end, __ATOMIC_RELEASE);
}

void stamp_cells(struct case_run *c, const struct pf_file *f, uint32_t op, uint64_t off,
		 uint8_t *data, size_t len)
{
	struct pf_cell_id id = { c->params->run, c->params->nr, f->id, op, off };

	pf_cell_stamp_range(data, len, &id);
}

/* Create the object for a file step, or for the target of a clone (@size 0). 0 or -errno. */
static int file_create(struct case_run *c, struct pf_file *f, const char *name)
{
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->path, sizeof(f->path), "%.200s/%s", c->params->dir, name);
	f->id = (uint32_t)(f - c->files) + 1;
	f->mnt = c->params->mnt;
	f->dirfd = c->dirfd;
	f->fd = openat(c->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return f->fd < 0 ? -errno : 0;
}

/* The file that has the lowest inode number from @from on. -errno. */
static int lowest(const struct pf_file *const *files, int from, int nr)
{
	ino_t least = 0;
	int at = -1;

	for (int i = from; i < nr; i++) {
		struct stat st;

		if (fstat(files[i]->fd, &st))
			return -errno;
		if (at < 0 || st.st_ino < least) {
			least = st.st_ino;
			at = i;
		}
	}
	return at;
}

static int swap_names(int dirfd, struct pf_file *a, struct pf_file *b)
{
	int fd = a->fd;

	if (renameat(dirfd, a->name, dirfd, ".swap") || renameat(dirfd, b->name, dirfd, a->name) ||
	    renameat(dirfd, ".swap", dirfd, b->name))
		return -errno;
	a->fd = b->fd;
	b->fd = fd;
	return 0;
}

int files_create(struct case_run *c)
{
	struct pf_file *files[PF_SEQ_FILES_MAX];
	int nr = 0, rc = 0;

	for (const struct pf_step *s = c->seq.steps; nr < c->seq.nr_steps && !rc; s++) {
		if (s->verb != PF_VERB_FILE)
			break;
		files[nr] = &c->files[s->file];
		rc = file_create(c, files[nr++], c->seq.files[s->file]);
	}
	for (int i = 0; i + 1 < nr && !rc; i++) {
		int at = lowest((const struct pf_file *const *)files, i, nr);

		rc = at < 0 ? at : at == i ? 0 : swap_names(c->dirfd, files[i], files[at]);
	}
	return rc;
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = pwrite(fd, data + at, len - at, (off_t)at);

		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	return 0;
}

static void step_file(struct step_job *j)
{
	struct case_run *c = j->c;
	const struct pf_step *s = j->step;
	struct pf_file *f = &c->files[s->file];
	uint32_t op = pf_history_reserve(&c->history);
	int rc = f->fd >= 0 ? 0 : file_create(c, f, c->seq.files[s->file]);

	if (!rc && s->state == PF_STATE_WRITTEN) {
		stamp_cells(c, f, op, 0, j->data, s->size_bytes);
		rc = write_all(f->fd, j->data, s->size_bytes);
	} else if (!rc && s->state == PF_STATE_UNWRITTEN) {
		rc = fallocate(f->fd, 0, 0, (off_t)s->size_bytes) ? -errno : 0;
	} else if (!rc) {
		rc = ftruncate(f->fd, (off_t)s->size_bytes) ? -errno : 0;
	}
	/* Of a thousand files at once the filesystem is told once (explore). */
	if (!rc && !c->pool && fsync(f->fd))
		rc = -errno;
	if (rc == -EOPNOTSUPP && s->state == PF_STATE_UNWRITTEN) {
		case_end(c, CASE_SKIP, "file %s: no fallocate here: EOPNOTSUPP", f->name);
		return;
	}
	if (rc) {
		case_end(c, CASE_BROKEN, "file %s: %s", f->path, pf_errno_name(-rc));
		return;
	}
	pf_history_line(&c->history, "file %s %u %llu %s %u", f->name, f->id, (ull)s->size_bytes,
			pf_state_name(s->state), op);
}

/* "nr_foll_pin +16": what the kernel counts as pinned more than in @before. */
void say_pinned(struct case_run *c, uint32_t op, const struct pin_counters *before, int before_rc,
		bool inflight)
{
	struct pin_counters now;
	int64_t held;

	/* Other processes pin at the same time. A case of its own counts. */
	if (c->pool) {
		pf_history_line(&c->history, "pinned %u yes %s,%%20not%%20counted", op,
				inflight ? "I/O%20in%20flight" : "registered");
		return;
	}
	if (before_rc || pin_counters_read(&now)) {
		pf_history_line(&c->history, "pinned %u unknown no%%20nr_foll_pin%%20counters", op);
		return;
	}
	held = pin_counters_held(&now) - pin_counters_held(before);
	if (held > 0)
		pf_history_line(&c->history, "pinned %u yes nr_foll_pin%%20+%lld", op,
				(long long)held);
	else if (inflight)
		pf_history_line(&c->history,
				"pinned %u yes I/O%%20in%%20flight,"
				"%%20not%%20counted%%20as%%20FOLL_PIN",
				op);
	else
		pf_history_line(&c->history, "pinned %u no nr_foll_pin%%20+0", op);
}

static void step_pin(struct step_job *j)
{
	struct case_run *c = j->c;
	struct pf_file *f = &c->files[j->step->file];
	size_t bytes = c->seq.file_bytes[j->step->file];
	const struct pf_channel_ops *ops = c->channel.ops;
	struct pin_counters before;
	int before_rc = -ENODATA, rc = 0;
	uint32_t op;

	if (!c->pool &&
	    (ops->class == PF_CLASS_LONG_PIN || ops->class == PF_CLASS_FAULTING))
		before_rc = pin_counters_read(&before);
	op = pf_history_inv(&c->history, "pin %s", f->name);
	j->job.op = op;
	f->map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED) {
		rc = -errno;
		f->map = NULL;
		pf_history_ret(&c->history, op, rc, "mmap");
		case_end(c, CASE_BROKEN, "mmap of %s: %s", f->name, pf_errno_name(-rc));
		return;
	}
	f->map_bytes = bytes;
	c->channel.detail[0] = '\0';
	pf_history_flush(&c->history);
	if (ops->pin)
		rc = ops->pin(&c->channel, f);
	pf_history_ret(&c->history, op, rc, c->channel.detail);
	if (rc) {
		munmap(f->map, f->map_bytes);
		f->map = NULL;
		c->refused = true;
		if (ops->unsupported && ops->unsupported(-rc))
			case_end(c, CASE_SKIP, "%s: %s on this filesystem", c->channel.detail,
				 pf_errno_name(-rc));
		return;
	}
	c->nr_pinned++;
	if (ops->class == PF_CLASS_LONG_PIN || ops->class == PF_CLASS_FAULTING)
		say_pinned(c, op, &before, before_rc, false);
}

int unpin_file(struct case_run *c, struct pf_file *f)
{
	uint32_t op = pf_history_inv(&c->history, "unpin %s", f->name);
	int rc = c->channel.ops->unpin ? c->channel.ops->unpin(&c->channel, f) : 0;

	if (munmap(f->map, f->map_bytes) && !rc)
		rc = -errno;
	f->map = NULL;
	c->nr_pinned--;
	pf_history_ret(&c->history, op, rc, c->channel.detail);
	return rc;
}

void write_begins(struct case_run *c, const struct pf_file *f, bool through_map,
		  struct write_marks *marks)
{
	marks->interval = mtime_before_write(c, f, through_map);
	marks->space = space_before_write(c);
	marks->flush = flush_before_write(c, f, through_map);
}

void write_ended(struct case_run *c, const struct pf_io *io, long n, uint32_t op,
		 const struct write_marks *marks)
{
	space_wrote(c, io, n, op, marks->space);
	if (n <= 0)
		return;
	mtime_wrote(c, io->file, op, marks->interval);
	flush_wrote(c, io, n, op, marks->flush);
}

static void step_write(struct step_job *j)
{
	struct case_run *c = j->c;
	const struct pf_step *s = j->step;
	struct pf_file *f = &c->files[s->file];
	struct pf_io io = { .file = f, .off_bytes = s->off_bytes, .len_bytes = s->len_bytes };
	uint32_t op = pf_history_reserve(&c->history);
	const char *verb = s->verb == PF_VERB_STORE  ? "store" :
			   s->verb == PF_VERB_PWRITE ? "pwrite" :
						       "write";
	struct write_marks marks;
	long n;

	j->job.op = op;
	stamp_cells(c, f, op, s->off_bytes, j->data, s->len_bytes);
	io.data = j->data;
	write_begins(c, f,
		     s->verb == PF_VERB_STORE ||
			     (s->verb == PF_VERB_WRITE &&
			      c->channel.ops->class != PF_CLASS_SYSCALL),
		     &marks);
	pf_history_inv_as(&c->history, op, "%s %s %llu %llu", verb, f->name, (ull)s->off_bytes,
			  (ull)s->len_bytes);
	pf_history_flush(&c->history);
	if (s->verb == PF_VERB_WRITE) {
		n = c->channel.ops->write(&c->channel, &io);
	} else if (s->verb == PF_VERB_STORE) {
		n = (long)pf_guarded_copy(f->map + s->off_bytes, j->data, s->len_bytes);
		if ((size_t)n < s->len_bytes) {
			n = -EFAULT;
			strcpy(io.detail, "SIGBUS");
		}
	} else {
		n = pwrite(f->fd, j->data, s->len_bytes, (off_t)s->off_bytes);
		n = n < 0 ? -errno : n;
	}
	pf_history_ret(&c->history, op, n, io.detail);
	write_ended(c, &io, n, op, &marks);
}

bool fault_unsupported(const struct pf_fault_ops *ops, int err)
{
	if (ops->unsupported)
		return ops->unsupported(err);
	return err == EOPNOTSUPP || err == ENOTTY || err == ENOSYS;
}

static uint32_t fault_inv(struct case_run *c, const struct pf_fault_ops *ops,
			  const struct pf_fault_call *call)
{
	const char *prim = prim_names[ops->prim], *name = call->file->name;

	switch (ops->args) {
	case PF_ARGS_FILE_SIZE:
		return pf_history_inv(&c->history, "fault %s %s %s %llu", ops->name, prim, name,
				      (ull)call->size_bytes);
	case PF_ARGS_FILE_RANGE:
		return pf_history_inv(&c->history, "fault %s %s %s %llu %llu", ops->name, prim,
				      name, (ull)call->off_bytes, (ull)call->len_bytes);
	case PF_ARGS_FILE_FILE:
		return pf_history_inv(&c->history, "fault %s %s %s %s", ops->name, prim, name,
				      call->file2->name);
	case PF_ARGS_FILE:
		break;
	}
	return pf_history_inv(&c->history, "fault %s %s %s", ops->name, prim, name);
}

/*
 * The power cut: whatever this process has to say is said, and from here on each line goes out
 * before the next thing is done. Does not return: the operation is in flight when the machine dies.
 */
static void await_power_cut(struct case_run *c)
{
	snprintf(c->late, sizeof(c->late), "%u ", c->params->nr);
	pf_history_redirect(&c->history, c->params->late, c->late);
	c->power_due = true;
	sem_post(&c->power);
	for (;;)
		pause();
}

/* A question in the middle of a case's reply, and the runner's one-word answer. */
static int ask_forget(struct case_run *c)
{
	static const char question[] = "ask forget\n";
	struct pollfd p = { .fd = c->params->in, .events = POLLIN };
	char answer[16];
	ssize_t n;

	pf_history_flush(&c->history);
	if (write(c->history.fd, question, sizeof(question) - 1) != (ssize_t)sizeof(question) - 1)
		return -EIO;
	if (poll(&p, 1, (int)c->params->deadline_ms * ASK_DEADLINES) <= 0)
		return -ETIMEDOUT;
	n = read(c->params->in, answer, sizeof(answer));
	return n == 3 && !memcmp(answer, "go\n", 3) ? 0 : -EIO;
}

static int ask_runner(struct pf_fault_call *call, enum pf_ask what)
{
	struct case_run *c = call->ask_arg;

	if (what == PF_ASK_FORGET)
		return ask_forget(c);
	if (c->params->late < 0)
		return -ENXIO;
	await_power_cut(c);
	return -EIO;
}

/* Is a step asleep that will make @file longer or shorter? */
static bool resizing(const struct case_run *c, int file)
{
	for (int i = 0; i < c->seq.nr_steps; i++) {
		const struct pf_fault_ops *f = c->jobs[i].running ? c->seq.steps[i].fault : NULL;

		if (f && c->seq.steps[i].file == file &&
		    (f->prim == PF_PRIM_RESIZE || f->prim == PF_PRIM_COLLAPSE ||
		     f->prim == PF_PRIM_INSERT))
			return true;
	}
	return false;
}

/* Is another step asleep, or was when it was last looked at? */
static bool others_running(const struct step_job *j)
{
	for (int i = 0; i < j->c->seq.nr_steps; i++)
		if (&j->c->jobs[i] != j && j->c->jobs[i].running)
			return true;
	return false;
}

static int fault_prepare(struct step_job *j)
{
	struct case_run *c = j->c;
	const struct pf_step *s = j->step;
	struct pf_fault_call *call = &j->call;
	int rc;

	*call = (struct pf_fault_call){
		.file = &c->files[s->file],
		.file2 = s->file2 >= 0 ? &c->files[s->file2] : NULL,
		.off_bytes = s->off_bytes,
		.len_bytes = s->len_bytes,
		.size_bytes = s->size_bytes,
		.resizing = resizing(c, s->file),
		.ask = c->params->guest ? ask_runner : NULL,
		.ask_arg = c,
	};
	if (call->file2 && call->file2->fd < 0) {
		rc = file_create(c, call->file2, c->seq.files[s->file2]);
		if (rc)
			return rc;
		pf_history_line(&c->history, "file %s %u 0 hole 0", call->file2->name,
				call->file2->id);
	}
	return s->fault->prepare ? s->fault->prepare(call) : 0;
}

bool step_syncs(const struct pf_fault_ops *fault)
{
	return (fault->prim == PF_PRIM_SYNC || fault->prim == PF_PRIM_SYNCFS) &&
	       fault->args != PF_ARGS_FILE_RANGE && !(fault->flags & PF_FAULT_UNSEEN);
}

static void step_fault(struct step_job *j)
{
	static const char *const effect_names[] = { "shown", "none", "unknown" };
	struct case_run *c = j->c;
	const struct pf_fault_ops *ops = j->step->fault;
	enum pf_effect effect = PF_EFFECT_UNKNOWN;
	char evidence[200] = "", token[600];
	uint32_t op;
	int rc = fault_prepare(j);

	if (rc) {
		case_end(c, fault_unsupported(ops, -rc) ? CASE_SKIP : CASE_BROKEN, "%s: %s",
			 ops->name, j->call.why ? j->call.why : pf_errno_name(-rc));
		return;
	}
	/* What others write between its read and its write it would take back. */
	if ((ops->flags & PF_FAULT_REWRITES) && others_running(j)) {
		case_end(c, CASE_SKIP, "%s beside a step that is not over", ops->name);
		return;
	}
	op = fault_inv(c, ops, &j->call);
	j->job.op = op;
	pf_history_flush(&c->history);
	space_fault(c, ops->prim, true);
	rc = ops->run(&j->call);
	space_fault(c, ops->prim, false);
	flush_fault(c, ops, &j->call);
	pf_history_ret(&c->history, op, rc, NULL);
	if (rc) {
		if (fault_unsupported(ops, -rc))
			case_end(c, CASE_SKIP, "%s: %s on this filesystem", ops->name,
				 pf_errno_name(-rc));
		return;
	}
	for (int i = 0; step_syncs(ops) && i < c->seq.nr_files; i++)
		if (ops->prim == PF_PRIM_SYNCFS || &c->files[i] == j->call.file) {
			mtime_synced(c, &c->files[i]);
			flush_synced(c, &c->files[i]);
		}
	if (ops->flags & PF_FAULT_OPENS)
		c->nr_open_states++;
	if (ops->flags & PF_FAULT_CLOSES)
		c->nr_open_states--;
	if (ops->flags & PF_FAULT_LAST)
		c->last_ran = true;
	if (ops->effect)
		effect = ops->effect(&j->call, evidence, sizeof(evidence));
	pf_token_encode(token, sizeof(token), evidence);
	pf_history_line(&c->history, "effect %u %s %s %s", op, effect_names[effect],
			ops->flags & PF_FAULT_BEST_EFFORT ? "best-effort" : "strict", token);
}

void look_all(struct case_run *c, struct look *l, bool fresh_mapping)
{
	for (int i = 0; i < c->seq.nr_files; i++) {
		struct pf_file *f = &c->files[i];
		struct stat st;
		bool mapped = false;

		if (f->fd < 0)
			continue;
		if (!f->map && fresh_mapping && !fstat(f->fd, &st) && st.st_size) {
			f->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, f->fd, 0);
			mapped = f->map != MAP_FAILED;
			if (!mapped)
				f->map = NULL;
			f->map_bytes = (size_t)st.st_size;
		}
		for (enum pf_view v = 0; v < PF_VIEWS_NR; v++)
			if (v != PF_VIEW_MMAP || f->map)
				look_at(l, f, v, pf_view_name(v), 0, 0);
		if (mapped) {
			munmap(f->map, f->map_bytes);
			f->map = NULL;
		}
	}
}

void look_dropped(struct case_run *c)
{
	for (int i = 0; i < c->seq.nr_files; i++) {
		struct pf_file *f = &c->files[i];

		/* Only clean pages can be dropped. An error of fsync is the filesystem's answer to
		 * what came before; the view after it shows the consequence. */
		if (f->fd < 0)
			continue;
		if (fsync(f->fd))
			pf_history_line(&c->history, "note fsync%%20of%%20%s:%%20%s", f->name,
					pf_errno_name(errno));
		else
			mtime_synced(c, f);
		posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
		look_at(&c->look, f, PF_VIEW_BUFFERED, "dropped", 0, 0);
	}
}

void step_run(struct job *job)
{
	struct step_job *j = job->arg;
	struct case_run *c = j->c;
	const struct pf_step *s = j->step;

	switch (s->verb) {
	case PF_VERB_FILE:
		step_file(j);
		break;
	case PF_VERB_PIN:
		step_pin(j);
		break;
	case PF_VERB_UNPIN:
		unpin_file(c, &c->files[s->file]);
		break;
	case PF_VERB_HOLD:
		step_hold(j);
		break;
	case PF_VERB_HOLD_READ:
		step_hold_read(j);
		break;
	case PF_VERB_LAND:
		job->op = c->held[s->hold].op;
		land_held(c, &c->held[s->hold]);
		break;
	case PF_VERB_WRITE:
	case PF_VERB_STORE:
	case PF_VERB_PWRITE:
		step_write(j);
		break;
	case PF_VERB_READ:
		job->op = c->history.last_op + 1;
		look_at(&j->look, &c->files[s->file], s->view, pf_view_name(s->view),
			s->off_bytes, s->len_bytes);
		break;
	case PF_VERB_LOOK:
		look_all(c, &j->look, false);
		break;
	case PF_VERB_FAULT:
		step_fault(j);
		if (s->fault->flags & PF_FAULT_POWER)
			sem_post(&c->power); /* it came to nothing */
		break;
	}
}
