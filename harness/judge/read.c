// SPDX-License-Identifier: GPL-2.0
/* read.c - the parser of histories; see harness/README.md for the lines. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "../core/cell.h"
#include "../core/token.h"
#include "judge.h"

#define WORDS_MAX 8192
#define IDS_MAX 255 /* of files: a byte of pf_value */

static const char *const verb_names[] = { "pin", "unpin", "write", "store", "pwrite", "look",
					   "fault" };
static const char *const prim_names[] = { "none", "zero", "resize", "collapse", "insert", "copy",
					   "sync", "syncfs", "unlink", "rename", "crash" };
static const char *const class_names[] = { "pte", "short-pin", "long-pin", "faulting",
					  "syscall" };

__attribute__((format(printf, 2, 3))) static int bad(struct j_reader *r, const char *fmt, ...)
{
	va_list ap;
	int at = snprintf(r->err, sizeof(r->err), "line %u, byte %llu: ", r->line_nr,
			  (unsigned long long)r->line_at);

	va_start(ap, fmt);
	vsnprintf(r->err + at, sizeof(r->err) - (size_t)at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int lookup(const char *word, const char *const *names, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(word, names[i]))
			return (int)i;
	return -1;
}

#define LOOKUP(word, names) lookup(word, names, sizeof(names) / sizeof((names)[0]))

static int number(struct j_reader *r, const char *word, uint64_t max, uint64_t *out)
{
	if (pf_token_u64(word, out) || *out > max)
		return bad(r, "'%.40s' is not a number up to %llu", word, (unsigned long long)max);
	return 0;
}

static int number32(struct j_reader *r, const char *word, uint64_t max, uint32_t *out)
{
	uint64_t value;
	int rc = number(r, word, max, &value);

	*out = rc ? 0 : (uint32_t)value;
	return rc;
}

#define BYTES_MAX ((uint64_t)J_FILE_CELLS_MAX * PF_CELL_BYTES)

static int name(struct j_reader *r, const char *word, const char **out)
{
	if (!*word || strlen(word) >= J_NAME_BYTES)
		return bad(r, "'%.40s' is not a file's name", word);
	*out = word;
	return 0;
}

static int range(struct j_reader *r, char **w, struct j_event *ev)
{
	int rc = number(r, w[0], BYTES_MAX, &ev->off_bytes);

	rc = rc ? rc : number(r, w[1], BYTES_MAX, &ev->len_bytes);
	if (!rc && (ev->off_bytes % PF_CELL_BYTES || ev->len_bytes % PF_CELL_BYTES))
		return bad(r, "an offset or length that is not a multiple of %u", PF_CELL_BYTES);
	return rc;
}

static int read_fault(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	int prim = nr >= 3 ? LOOKUP(w[1], prim_names) : -1;
	int rc;

	if (prim < 0)
		return bad(r, "a fault needs NAME PRIM OBJ");
	ev->fault = w[0];
	ev->prim = (enum j_prim)prim;
	rc = name(r, w[2], &ev->name);
	if (rc)
		return rc;
	if (nr == 5)
		return range(r, w + 3, ev);
	if (nr == 4 && (prim == J_RESIZE))
		return number(r, w[3], BYTES_MAX, &ev->size_bytes);
	if (nr == 4)
		return name(r, w[3], &ev->name2);
	if (nr != 3 || prim == J_ZERO || prim == J_RESIZE || prim == J_COLLAPSE ||
	    prim == J_INSERT || prim == J_COPY || prim == J_RENAME)
		return bad(r, "fault %s lacks arguments", prim_names[prim]);
	return 0;
}

static int read_inv(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	int verb = nr >= 5 ? LOOKUP(w[3], verb_names) : -1, rc;

	if (verb < 0)
		return bad(r, "an invocation needs OP T VERB OBJ");
	ev->verb = (enum j_verb)verb;
	rc = number32(r, w[1], UINT32_MAX, &ev->op);
	rc = rc ? rc : number(r, w[2], UINT64_MAX, &ev->t_ns);
	if (rc)
		return rc;
	if (verb == J_FAULT)
		return read_fault(r, w + 4, nr - 4, ev);
	rc = name(r, w[4], &ev->name);
	if (rc || verb == J_PIN || verb == J_UNPIN)
		return rc;
	if (nr != (verb == J_LOOK ? 8 : 7))
		return bad(r, "%s needs OBJ OFF LEN%s", verb_names[verb],
			   verb == J_LOOK ? " VIEW" : "");
	if (verb == J_LOOK)
		ev->view = w[7];
	return range(r, w + 5, ev);
}

static int read_value(struct j_reader *r, char *word, struct j_event *ev, uint64_t first_cell,
		      struct j_seen *s)
{
	char *star = strrchr(word, '*');
	unsigned long long op, id, off;
	char end;

	if (!star || pf_token_u64(star + 1, &s->count) || !s->count ||
	    s->count > J_FILE_CELLS_MAX)
		return bad(r, "'%.40s' is not VALUE*COUNT", word);
	*star = '\0';
	s->text = word;
	(void)ev;
	switch (word[0]) {
	case '0':
		s->kind = SEEN_ZERO;
		return word[1] ? bad(r, "'%.40s' is not a value", word) : 0;
	case 'w':
		s->kind = SEEN_CELL;
		s->id = 0; /* in its place: the reader of the event knows where */
		s->cell = (uint32_t)first_cell;
		if (number32(r, word + 1, UINT32_MAX, &s->op))
			return -EINVAL;
		return s->op ? 0 : bad(r, "'%.40s' names no operation", word);
	case 'm':
		if (sscanf(word + 1, "%llu:%llu:%llu%c", &op, &id, &off, &end) != 3 ||
		    !op || op > UINT32_MAX || id > IDS_MAX || !id || off > BYTES_MAX ||
		    off % PF_CELL_BYTES)
			return bad(r, "'%.40s' is not mOP:ID:OFF", word);
		s->kind = SEEN_CELL;
		s->op = (uint32_t)op;
		s->id = (uint32_t)id;
		s->cell = (uint32_t)(off / PF_CELL_BYTES);
		return 0;
	case 'f':
		s->kind = SEEN_FOREIGN;
		return 0;
	case 't':
		s->kind = SEEN_TORN;
		return 0;
	case 'e':
		s->kind = SEEN_ERROR;
		return 0;
	}
	return bad(r, "'%.40s' is not a value", word);
}

static int read_see(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	uint64_t cells = 0;
	int rc;

	if (nr < 7)
		return bad(r, "see needs OP OBJ VIEW SIZE OFF LEN");
	rc = number32(r, w[1], UINT32_MAX, &ev->op);
	rc = rc ? rc : name(r, w[2], &ev->name);
	rc = rc ? rc : number(r, w[4], UINT64_MAX, &ev->size_bytes);
	rc = rc ? rc : range(r, w + 5, ev);
	if (rc)
		return rc;
	ev->view = w[3];
	ev->nr_seen = nr - 7;
	if (ev->nr_seen > r->seen_max) {
		struct j_seen *more = realloc(r->seen, sizeof(*more) * (size_t)ev->nr_seen);

		if (!more)
			return -ENOMEM;
		r->seen = more;
		r->seen_max = ev->nr_seen;
	}
	ev->seen = r->seen;
	for (int i = 0; i < ev->nr_seen; i++) {
		rc = read_value(r, w[7 + i], ev, ev->off_bytes / PF_CELL_BYTES + cells,
				&ev->seen[i]);
		if (rc)
			return rc;
		cells += ev->seen[i].count;
	}
	if (cells * PF_CELL_BYTES != ev->len_bytes)
		return bad(r, "see says %llu bytes and shows %llu",
			   (unsigned long long)ev->len_bytes,
			   (unsigned long long)(cells * PF_CELL_BYTES));
	return 0;
}

static int read_ret(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	int rc;

	if (nr < 5 || (strcmp(w[3], "ok") != 0 && strcmp(w[3], "err") != 0))
		return bad(r, "ret needs OP T ok N or OP T err ERRNO");
	rc = number32(r, w[1], UINT32_MAX, &ev->op);
	rc = rc ? rc : number(r, w[2], UINT64_MAX, &ev->t_ns);
	if (rc)
		return rc;
	ev->ok = w[3][0] == 'o';
	ev->text = nr > 5 ? w[5] : "";
	if (nr > 5 && pf_token_decode(w[5]))
		return bad(r, "bad escape");
	ev->errno_name = w[4];
	return ev->ok ? number(r, w[4], UINT64_MAX, &ev->value) : 0;
}

static int read_case(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	int class = nr >= 6 ? LOOKUP(w[4], class_names) : -1, rc;

	if (class < 0)
		return bad(r, "case needs NR RUN CHANNEL CLASS HOLD");
	ev->class = (enum j_class)class;
	rc = number32(r, w[1], UINT32_MAX, &ev->case_nr);
	rc = rc ? rc : number32(r, w[2], UINT32_MAX, &ev->run);
	ev->channel = w[3];
	ev->title = nr > 6 ? w[6] : "";
	if (nr > 6 && pf_token_decode(w[6]))
		return bad(r, "bad escape");
	return rc;
}

static int read_file(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	int rc;

	if (nr != 6)
		return bad(r, "file needs OBJ ID SIZE STATE OP");
	rc = name(r, w[1], &ev->name);
	rc = rc ? rc : number32(r, w[2], IDS_MAX, &ev->id);
	rc = rc ? rc : number(r, w[3], BYTES_MAX, &ev->size_bytes);
	rc = rc ? rc : number32(r, w[5], J_OPS_MAX - 1, &ev->op);
	ev->written = !strcmp(w[4], "written");
	return rc;
}

/* effect OP WORD strict|best-effort TEXT; pinned OP WORD TEXT */
static int read_word(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	bool effect = ev->kind == EV_EFFECT;
	int need = effect ? 5 : 4;
	int rc;

	if (nr < need)
		return bad(r, "%s lacks words", w[0]);
	rc = number32(r, w[1], UINT32_MAX, &ev->op);
	ev->word = w[2];
	ev->best_effort = effect && !strcmp(w[3], "best-effort");
	ev->text = w[need - 1];
	if (pf_token_decode(w[need - 1]))
		return bad(r, "bad escape");
	return rc;
}

/* blocked OP T STATE WCHAN; hung OP T STATE WCHAN STACK */
static int read_sleep(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	int rc;

	if (nr < 5)
		return bad(r, "%s needs OP T STATE WCHAN", w[0]);
	rc = number32(r, w[1], UINT32_MAX, &ev->op);
	rc = rc ? rc : number(r, w[2], UINT64_MAX, &ev->t_ns);
	ev->text = w[4];
	return rc;
}

/* last LINES: with it, and only with it, a history of version 2 is whole. */
static int read_last(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	uint64_t lines;

	(void)ev;
	if (nr != 2 || pf_token_u64(w[1], &lines) || lines != r->line_nr)
		return bad(r, "this is not the last of %.20s lines", nr == 2 ? w[1] : "?");
	r->ended = true;
	return 0;
}

static int read_words(struct j_reader *r, char **w, int nr, struct j_event *ev)
{
	static const struct {
		const char *name;
		enum j_event_kind kind;
		int (*read)(struct j_reader *r, char **w, int nr, struct j_event *ev);
	} kinds[] = {
		{ "case", EV_CASE, read_case },	      { "file", EV_FILE, read_file },
		{ "inv", EV_INV, read_inv },	      { "see", EV_SEE, read_see },
		{ "ret", EV_RET, read_ret },	      { "blocked", EV_BLOCKED, read_sleep },
		{ "effect", EV_EFFECT, read_word },   { "pinned", EV_PINNED, read_word },
		{ "hung", EV_HUNG, read_sleep },      { "remount", EV_REMOUNT, NULL },
		{ "crash", EV_CRASHED, NULL },	      { "note", EV_NOTE, NULL },
		{ "end", EV_END, NULL },	      { "last", EV_LAST, read_last },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(w[0], kinds[i].name)) {
			ev->kind = kinds[i].kind;
			return kinds[i].read ? kinds[i].read(r, w, nr, ev) : 0;
		}
	return bad(r, "'%.40s' is not a line of a history", w[0]);
}

#define SUM_BYTES 11 /* " ~01234567\n" */

/* The first line says the version. 2: every line carries the sum of all up to it. */
static int read_version(struct j_reader *r, size_t len)
{
	if (!strcmp(r->line, "pinfault-history 1\n"))
		return 0;
	if (strcmp(r->line, "pinfault-history 2\n") != 0)
		return bad(r, "not a history of version 1 or 2");
	r->summed = true;
	r->sum = (uint32_t)crc32(0, (const Bytef *)r->line, (uInt)len);
	return 0;
}

/* Check and take off the sum at the end of a line. */
static int take_sum(struct j_reader *r, size_t len)
{
	char *tail = r->line + len - SUM_BYTES, want[SUM_BYTES + 1];

	if (len <= SUM_BYTES)
		return bad(r, "too short to carry a sum");
	r->sum = (uint32_t)crc32(r->sum, (const Bytef *)r->line, (uInt)(len - SUM_BYTES));
	r->sum = (uint32_t)crc32(r->sum, (const Bytef *)"\n", 1);
	snprintf(want, sizeof(want), " ~%08x\n", r->sum);
	if (strcmp(tail, want) != 0)
		return bad(r, "damaged: this line, or one before it that is missing");
	strcpy(tail, "\n");
	return 0;
}

/* The next line, past the comments that a handwritten history begins with. -1 at the end. */
static ssize_t next_line(struct j_reader *r)
{
	ssize_t len;

	do {
		r->line_at = r->next_at;
		len = getline(&r->line, &r->line_bytes, r->in);
		r->line_nr++;
		r->next_at += len > 0 ? (uint64_t)len : 0;
	} while (!r->begun && len > 0 && r->line[0] == '#');
	return len;
}

int j_read(struct j_reader *r, struct j_event *ev)
{
	static char *words[WORDS_MAX];
	ssize_t len;
	int nr, rc;

	*ev = (struct j_event){ .text = "" };
	len = next_line(r);
	if (len < 0 && !r->begun)
		return bad(r, "empty: not a history");
	if (len < 0)
		return r->summed && !r->ended ? bad(r, "cut off: there was more") : 0;
	if (strlen(r->line) != (size_t)len)
		return bad(r, "a NUL byte");
	if (r->line[len - 1] != '\n')
		return bad(r, "cut off");
	if (r->ended)
		return bad(r, "more after the last line");
	if (!r->begun) {
		rc = read_version(r, (size_t)len);
		r->begun = !rc;
		return rc ? rc : j_read(r, ev);
	}
	if (r->summed && take_sum(r, (size_t)len))
		return -EINVAL;
	nr = pf_token_split(r->line, words, WORDS_MAX);
	if (nr <= 0)
		return bad(r, nr ? "too many words" : "an empty line");
	rc = read_words(r, words, nr, ev);
	return rc ? rc : 1;
}

void j_reader_free(struct j_reader *r)
{
	free(r->line);
	free(r->seen);
}
