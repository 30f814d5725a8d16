// SPDX-License-Identifier: GPL-2.0
/*
 * rdma_try.c - the rdma channels by themselves, without executor or judge. For a guest, or a
 * machine with an RDMA device.
 *
 *	rdma_try probe
 *	rdma_try COMMAND DIR CHANNEL[/VARIANT]...
 *
 * geometry: which offsets and sizes land where they should. conflict: write across punch, truncate
 * and fsync. readonly: write to pages that were only mapped for reading. deadline: a write that is
 * cut short, and the next one. cost: microseconds of open, pin, write, unpin, close.
 *
 * Exit: 0 all data right, 1 some was not, 2 something could not run or nothing was compared
 * (refused, failed), 64 usage. "readonly" lets a kernel with the defect it is about write to
 * write-protected pages: throwaway guests only.
 *
 * Files hold 8-byte words (generation << 40 | offset), so every word says where it belongs.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "channel.h"
#include "clock.h"
#include "rdma_common.h"

#define OLD_GEN 1u
#define GEN_SHIFT 40
#define OFF_MASK ((UINT64_C(1) << GEN_SHIFT) - 1)
#define BIG_BYTES (PF_IO_MAX_BYTES + (64u << 10))
#define SMALL_BYTES (64u << 10)
#define ALIGN_BYTES 4096u

struct trial {
	struct pf_channel ch;
	struct pf_file f;
	uint8_t *data; /* what to write */
	uint8_t *seen; /* what was read; aligned for O_DIRECT */
	const char *what;
	uint64_t gen;
};

static int bad_data; /* exit status 1 */
static unsigned long compared;

static void put_word(uint8_t *at, uint64_t gen, uint64_t off)
{
	uint64_t word = gen << GEN_SHIFT | off;

	memcpy(at, &word, sizeof(word));
}

static uint64_t get_word(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static void fill(uint8_t *buf, uint64_t gen, uint64_t off, size_t len)
{
	for (size_t i = 0; i < len; i += 8)
		put_word(buf + i, gen, off + i);
}

/*
 * Compare @buf (the file's [0, size)) with: @gen in [off, off+len), the old generation elsewhere.
 * Returns the number of words that differ and describes the first.
 */
static size_t differences(const uint8_t *buf, size_t size, uint64_t gen, uint64_t off, size_t len,
			  char *text, size_t text_bytes)
{
	size_t nr = 0;

	compared++;
	text[0] = '\0';
	for (size_t i = 0; i < size; i += 8) {
		bool inside = i >= off && i < off + len;
		uint64_t got = get_word(buf + i), want = (inside ? gen : OLD_GEN) << GEN_SHIFT | i;

		if (got == want || nr++)
			continue;
		if (!got)
			snprintf(text, text_bytes, "%s +%zu is zero",
				 inside ? "inside" : "outside", i);
		else
			snprintf(text, text_bytes, "%s +%zu holds %s word of +%" PRIu64,
				 inside ? "inside" : "outside", i,
				 got >> GEN_SHIFT == gen       ? "the new"
				 : got >> GEN_SHIFT == OLD_GEN ? "the old"
							       : "another",
				 got & OFF_MASK);
	}
	return nr;
}

static int drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, "3", 1) != 1)
		rc = -errno;
	close(fd);
	return rc;
}

/* Read the file's first @len bytes into t->seen, past the page cache if it can be. */
static int read_file(struct trial *t, size_t len, bool direct)
{
	int fd = open(t->f.path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0)), rc = 0;
	size_t done = 0;

	if (fd < 0 && direct && errno == EINVAL)
		fd = open(t->f.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	memset(t->seen, 0xff, len);
	while (done < len) {
		ssize_t n = pread(fd, t->seen + done, len - done, (off_t)done);

		if (n <= 0) {
			rc = n ? -errno : -ENODATA;
			break;
		}
		done += (size_t)n;
	}
	close(fd);
	return rc;
}

static void say(const struct trial *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct trial *t, const char *fmt, ...)
{
	va_list ap;

	printf("%s: ", t->what);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* One channel write of the next generation. */
static long channel_write(struct trial *t, uint64_t off, size_t len, char *detail)
{
	struct pf_io io = {.file = &t->f, .off_bytes = off, .len_bytes = len, .data = t->data};
	long n;

	t->gen++;
	fill(t->data, t->gen, off, len);
	n = t->ch.ops->write(&t->ch, &io);
	snprintf(detail, sizeof(io.detail), "%s", io.detail);
	return n;
}

/* Look at the file through a view and say whether [off, off+len) is the last write's. */
static bool look(struct trial *t, const char *view, bool direct, uint64_t off, size_t len)
{
	char text[128];
	size_t nr;
	int rc;

	rc = read_file(t, t->f.map_bytes, direct);
	if (rc) {
		say(t, "  %s: cannot read: %s", view, strerror(-rc));
		return false;
	}
	nr = differences(t->seen, t->f.map_bytes, t->gen, off, len, text, sizeof(text));
	say(t, "  %s: %s%s%s", view, nr ? "WRONG " : "right", nr ? text : "",
	    nr && direct ? " (direct)" : "");
	bad_data |= nr != 0;
	return !nr;
}

/* Make the file: @bytes of old words on the disk, nothing of it in the cache. */
static int make_file(struct trial *t, const char *dir, size_t bytes)
{
	snprintf(t->f.path, sizeof(t->f.path), "%s/rdma_try.data", dir);
	snprintf(t->f.name, sizeof(t->f.name), "A");
	t->f.id = 1;
	t->f.map_bytes = bytes;
	t->f.fd = open(t->f.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (t->f.fd < 0)
		return -errno;
	fill(t->seen, OLD_GEN, 0, bytes);
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pwrite(t->f.fd, t->seen + done, bytes - done, (off_t)done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if (fsync(t->f.fd))
		return -errno;
	t->f.map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->f.fd, 0);
	if (t->f.map == MAP_FAILED) {
		t->f.map = NULL;
		return -errno;
	}
	return drop_caches();
}

static void end_file(struct trial *t)
{
	if (t->f.map)
		munmap(t->f.map, t->f.map_bytes);
	if (t->f.fd >= 0)
		close(t->f.fd);
	t->f.map = NULL;
	t->f.fd = -1;
	unlink(t->f.path);
}

static int pin(struct trial *t)
{
	int rc = t->ch.ops->pin(&t->ch, &t->f);

	if (rc)
		say(t, "pin refused: %s (%d) %s", strerrorname_np(-rc), -rc, t->ch.detail);
	return rc;
}

static int start(struct trial *t, const char *dir, size_t bytes)
{
	int rc = t->ch.ops->open(&t->ch);

	if (rc) {
		say(t, "open: %s (%d) %s", strerrorname_np(-rc), -rc, t->ch.detail);
		return rc;
	}
	rc = make_file(t, dir, bytes);
	if (rc)
		say(t, "%s: %s", t->f.path, strerror(-rc));
	return rc;
}

static void stop(struct trial *t)
{
	t->ch.ops->close(&t->ch);
	end_file(t);
}

/* What one geometry did, compared through the mapping; damage is repaired for the next one. */
static void try_geometry(struct trial *t, uint64_t off, size_t len, unsigned int *right,
			 unsigned int *tried)
{
	char text[128], detail[96];
	size_t size = t->f.map_bytes, nr;
	long n;

	n = channel_write(t, off, len, detail);
	++*tried;
	if (n != (long)len) {
		say(t, "  off %5" PRIu64 " len %7zu: %s %s", off, len,
		    n < 0 ? strerrorname_np((int)-n) : "short", detail);
		bad_data = 1;
		return;
	}
	nr = differences(t->f.map, size, t->gen, off, len, text, sizeof(text));
	if (!nr)
		++*right;
	else
		say(t, "  off %5" PRIu64 " len %7zu: WRONG, %zu words; %s", off, len, nr, text);
	bad_data |= nr != 0;
	if (nr)
		fill(t->f.map, OLD_GEN, 0, size);
	else
		fill(t->f.map + off, OLD_GEN, off, len);
}

static void geometry(struct trial *t, const char *dir)
{
	static const uint64_t offs[] = {0, 64, 1024, 2048, 4032, 4096, 4160, 8192};
	static const size_t lens[] = {64,   512,  1024,  2048,  4032,	 4096,
				      4160, 8192, 16384, 65536, 1u << 20, 4u << 20};
	unsigned int right = 0, tried = 0;

	if (start(t, dir, BIG_BYTES) || pin(t))
		goto out;
	/* Present and writable from the start; pages mapped read-only are for readonly(). */
	fill(t->f.map, OLD_GEN, 0, BIG_BYTES);
	for (size_t i = 0; i < sizeof(offs) / sizeof(offs[0]); i++)
		for (size_t j = 0; j < sizeof(lens) / sizeof(lens[0]); j++)
			/* 8 bytes at a time takes its time. */
			if (strcmp(t->ch.variant, "atomic") || lens[j] <= 16384)
				try_geometry(t, offs[i], lens[j], &right, &tried);
	say(t, "%u of %u geometries right", right, tried);
	t->ch.ops->unpin(&t->ch, &t->f);
out:
	stop(t);
}

static void say_write(struct trial *t, const char *step, long n, const char *detail)
{
	if (n < 0)
		say(t, "  %s: %s %s", step, strerrorname_np((int)-n), detail);
	else
		say(t, "  %s: %ld bytes", step, n);
}

/* Write, fsync, write, fsync: is the second write on the disk while the registration lives? */
static void conflict_fsync(struct trial *t)
{
	char detail[96];
	long n = channel_write(t, 0, 8192, detail);

	say_write(t, "write", n, detail);
	look(t, "buffered", false, 0, 8192);
	say(t, "  fsync: %s", fsync(t->f.fd) ? strerror(errno) : "0");
	n = channel_write(t, 0, 8192, detail);
	say_write(t, "write after fsync", n, detail);
	look(t, "buffered", false, 0, 8192);
	say(t, "  fsync again: %s", fsync(t->f.fd) ? strerror(errno) : "0");
	look(t, "direct", true, 0, 8192);
}

static void conflict_punch(struct trial *t)
{
	char detail[96];
	uint64_t begin_ns = pf_now_ns();
	long n;

	if (fallocate(t->f.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096))
		say(t, "  punch: %s", strerror(errno));
	else
		say(t, "  punch: 0 in %" PRIu64 " us", (pf_now_ns() - begin_ns) / 1000);
	n = channel_write(t, 0, 8192, detail);
	say_write(t, "write after punch", n, detail);
	look(t, "buffered", false, 0, 8192);
}

static void conflict_truncate(struct trial *t)
{
	char detail[96];
	long n;

	if (ftruncate(t->f.fd, 0))
		say(t, "  truncate: %s", strerror(errno));
	n = channel_write(t, 0, 8192, detail);
	say_write(t, "write after truncate to 0", n, detail);
	if (ftruncate(t->f.fd, (off_t)t->f.map_bytes))
		say(t, "  truncate up: %s", strerror(errno));
	/* An error must not have broken the channel: the file is there again. */
	n = channel_write(t, 0, 8192, detail);
	say_write(t, "write after truncate up", n, detail);
}

/* The last write through every view, without the registration and without the cache. */
static void conflict_end(struct trial *t)
{
	int rc = t->ch.ops->unpin(&t->ch, &t->f);

	if (rc)
		say(t, "  unpin: %s", strerrorname_np(-rc));
	say(t, "  fsync: %s", fsync(t->f.fd) ? strerror(errno) : "0");
	drop_caches();
}

static void conflict(struct trial *t, const char *dir)
{
	if (start(t, dir, SMALL_BYTES) || pin(t))
		goto out;
	conflict_fsync(t);
	conflict_punch(t);
	conflict_end(t);
	look(t, "after unpin, fsync, drop caches", true, 0, 8192);
	if (pin(t))
		goto out;
	conflict_truncate(t);
	conflict_end(t);
	/* Here everything but the last write is a hole. */
	if (!read_file(t, 8192, true))
		say(t, "  after truncate, unpin, fsync, drop caches: %s",
		    get_word(t->seen) == t->gen << GEN_SHIFT ? "last write there" :
		    get_word(t->seen)			     ? "something else there" :
							       "zero");
out:
	stop(t);
}

enum readonly_how { READ_THEN_PIN, PIN_THEN_READ, PIN_THEN_FETCH };

static void readonly_one(struct trial *t, const char *dir, enum readonly_how how, bool hole)
{
	static const char *const names[] = {"CPU read, then register", "register, then CPU read",
					    "register, then RDMA READ"};
	volatile uint8_t sink;
	char detail[96];
	struct pf_io io = {.file = &t->f, .len_bytes = 8192};
	long n;

	if (start(t, dir, SMALL_BYTES))
		goto out;
	say(t, "%s, of %s", names[how], hole ? "a hole" : "written blocks");
	if (hole && (fallocate(t->f.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192) ||
		     fsync(t->f.fd)))
		say(t, "  punch: %s", strerror(errno));
	drop_caches();
	if (how != READ_THEN_PIN && pin(t))
		goto out;
	for (size_t off = 0; off < 8192 && how != PIN_THEN_FETCH; off += 4096)
		sink = *(volatile uint8_t *)(t->f.map + off);
	(void)sink;
	if (how == READ_THEN_PIN && pin(t))
		goto out;
	if (how == PIN_THEN_FETCH) {
		n = pf_rdma_fetch(&t->ch, &io, NULL);
		say_write(t, "RDMA READ", n, io.detail);
	}
	n = channel_write(t, 0, 8192, detail);
	say_write(t, "write", n, detail);
	look(t, "buffered", false, 0, 8192);
	conflict_end(t);
	look(t, "after unpin, fsync, drop caches", true, 0, 8192);
out:
	stop(t);
}

static void readonly(struct trial *t, const char *dir)
{
	for (int hole = 0; hole < 2; hole++) {
		readonly_one(t, dir, READ_THEN_PIN, hole);
		readonly_one(t, dir, PIN_THEN_READ, hole);
		readonly_one(t, dir, PIN_THEN_FETCH, hole);
	}
}

/* A write that ran out of time may have moved part of its data; the next one must be whole. */
static void deadline(struct trial *t, const char *dir)
{
	char detail[96];
	uint64_t begin_ns;
	long n;

	if (start(t, dir, BIG_BYTES) || pin(t))
		goto out;
	t->ch.deadline_ms = 1;
	begin_ns = pf_now_ns();
	n = channel_write(t, 0, PF_IO_MAX_BYTES, detail);
	say_write(t, "4 MiB within 1 ms", n, detail);
	say(t, "  took %" PRIu64 " us", (pf_now_ns() - begin_ns) / 1000);
	t->ch.deadline_ms = 10000;
	fill(t->f.map, OLD_GEN, 0, BIG_BYTES);
	n = channel_write(t, 4096, 8192, detail);
	say_write(t, "the next write", n, detail);
	look(t, "buffered", false, 4096, 8192);
	t->ch.ops->unpin(&t->ch, &t->f);
out:
	stop(t);
}

static uint64_t lap_us(uint64_t *since_ns)
{
	uint64_t now_ns = pf_now_ns(), us = (now_ns - *since_ns) / 1000;

	*since_ns = now_ns;
	return us;
}

static void cost(struct trial *t, const char *dir)
{
	enum { OPEN, PIN, WRITE, UNPIN, CLOSE, LAPS_NR, ROUNDS = 20 };
	uint64_t us[LAPS_NR] = {0}, now_ns;
	char detail[96];

	if (make_file(t, dir, SMALL_BYTES))
		goto out;
	for (int i = 0; i < ROUNDS; i++) {
		now_ns = pf_now_ns();
		if (t->ch.ops->open(&t->ch))
			goto out;
		us[OPEN] += lap_us(&now_ns);
		if (pin(t))
			goto out;
		us[PIN] += lap_us(&now_ns);
		channel_write(t, 0, 8192, detail);
		us[WRITE] += lap_us(&now_ns);
		t->ch.ops->unpin(&t->ch, &t->f);
		us[UNPIN] += lap_us(&now_ns);
		t->ch.ops->close(&t->ch);
		us[CLOSE] += lap_us(&now_ns);
	}
	say(t, "us: open %" PRIu64 " pin %" PRIu64 " write %" PRIu64 " unpin %" PRIu64
	       " close %" PRIu64, us[OPEN] / ROUNDS, us[PIN] / ROUNDS, us[WRITE] / ROUNDS,
	    us[UNPIN] / ROUNDS, us[CLOSE] / ROUNDS);
out:
	stop(t);
}

static void probe_all(void)
{
	size_t nr;
	const struct pf_channel_ops *const *ops = pf_channels(&nr);

	for (size_t i = 0; i < nr; i++) {
		if (strncmp(ops[i]->name, "rdma", 4))
			continue; /* every channel is linked in */
		for (const char *const *v = ops[i]->variants; *v; v++) {
			char why[128] = "";
			uint64_t now_ns = pf_now_ns();
			int rc = ops[i]->probe(*v, why, sizeof(why));

			printf("%s/%s: %s %s (%" PRIu64 " us)\n", ops[i]->name, *v,
			       rc ? strerrorname_np(-rc) : "ok", why, lap_us(&now_ns));
		}
	}
}

static const struct command {
	const char *name;
	void (*run)(struct trial *t, const char *dir);
} commands[] = {
	{"geometry", geometry},
	{"conflict", conflict},
	{"readonly", readonly},
	{"deadline", deadline},
	{"cost", cost},
};

/* Run one command for CHANNEL[/VARIANT]. */
static int run(const struct command *command, const char *dir, char *what)
{
	struct trial t = {.f.fd = -1, .gen = OLD_GEN, .ch.deadline_ms = 10000};
	char *slash, why[128] = "", *text = strdup(what);
	int rc = 2;

	t.what = text;
	t.data = malloc(PF_IO_MAX_BYTES);
	t.seen = aligned_alloc(ALIGN_BYTES, BIG_BYTES);
	slash = strchr(what, '/');
	t.ch.variant = slash ? slash + 1 : "";
	if (slash)
		*slash = '\0';
	t.ch.ops = pf_channel_find(what);
	if (!text || !t.data || !t.seen || !t.ch.ops) {
		fprintf(stderr, "rdma_try: no channel %s\n", what);
		goto out;
	}
	if (t.ch.ops->probe(t.ch.variant, why, sizeof(why))) {
		say(&t, "cannot run: %s", why);
		goto out;
	}
	command->run(&t, dir);
	rc = 0;
out:
	free(t.seen);
	free(t.data);
	free(text);
	return rc;
}

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct command *command = argc < 4 ? NULL : command_find(argv[1]);
	int rc = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "probe")) {
		probe_all();
		return 0;
	}
	if (!command) {
		fprintf(stderr, "usage: rdma_try probe | COMMAND DIR CHANNEL[/VARIANT]...\n"
				"commands: geometry conflict readonly deadline cost\n");
		return 64;
	}
	for (int i = 3; i < argc; i++)
		rc |= run(command, argv[2], argv[i]);
	if (command->run != cost && !compared)
		rc = 2;
	return rc ? rc : bad_data;
}
