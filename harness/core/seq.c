// SPDX-License-Identifier: GPL-2.0
/* seq.c - the parser of sequences; see seq.h. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cell.h"
#include "channel.h"
#include "seq.h"

#define WORDS_MAX 8
#define LINE_BYTES 256
#define FILE_BYTES_MAX (1ull << 30)

static const char *const view_names[] = { "mmap", "buffered", "direct", "gup" };
static const char *const state_names[] = { "written", "hole", "unwritten" };

struct parser {
	struct pf_seq *seq;
	int line;
	char *err;
	size_t err_bytes;
	char holds[PF_SEQ_HOLDS_MAX][PF_NAME_BYTES];
	bool pinned[PF_SEQ_FILES_MAX];
};

const char *pf_view_name(enum pf_view view)
{
	return view_names[view];
}

const char *pf_state_name(enum pf_state state)
{
	return state_names[state];
}

__attribute__((format(printf, 2, 3))) static int bad(struct parser *p, const char *fmt, ...)
{
	va_list ap;
	int at = snprintf(p->err, p->err_bytes, "%d: ", p->line);

	va_start(ap, fmt);
	if (at >= 0 && (size_t)at < p->err_bytes)
		vsnprintf(p->err + at, p->err_bytes - (size_t)at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int lookup(const char *word, const char *const *names, int nr)
{
	for (int i = 0; i < nr; i++)
		if (!strcmp(word, names[i]))
			return i;
	return -1;
}

static int parse_size(struct parser *p, const char *word, uint64_t *out)
{
	uint64_t value = 0;
	const char *c = word;

	for (; isdigit((unsigned char)*c); c++) {
		value = value * 10 + (uint64_t)(*c - '0');
		if (value > FILE_BYTES_MAX)
			return bad(p, "'%s': the largest offset is 1024M", word);
	}
	if (c == word)
		return bad(p, "'%s' is not a size (a number, then nothing, K or M)", word);
	if (*c == 'K' || *c == 'k')
		value <<= 10, c++;
	else if (*c == 'M' || *c == 'm')
		value <<= 20, c++;
	if (*c)
		return bad(p, "'%s' is not a size (a number, then nothing, K or M)", word);
	if (value > FILE_BYTES_MAX)
		return bad(p, "'%s': the largest offset is 1024M", word);
	if (value % PF_CELL_BYTES)
		return bad(p, "'%s' is not a multiple of %u bytes", word, PF_CELL_BYTES);
	*out = value;
	return 0;
}

static int parse_name(struct parser *p, const char *word)
{
	if (!isalpha((unsigned char)*word) || strlen(word) >= PF_NAME_BYTES)
		return bad(p, "'%s' is not a name (a letter, then letters and digits, at most %d)",
			   word, PF_NAME_BYTES - 1);
	for (const char *c = word; *c; c++)
		if (!isalnum((unsigned char)*c))
			return bad(p, "'%s' is not a name (letters and digits only)", word);
	return 0;
}

static int find_file(const struct pf_seq *seq, const char *name)
{
	for (int i = 0; i < seq->nr_files; i++)
		if (!strcmp(seq->files[i], name))
			return i;
	return -1;
}

static int add_file(struct parser *p, const char *name)
{
	struct pf_seq *seq = p->seq;
	int rc = parse_name(p, name);

	if (rc)
		return rc;
	if (find_file(seq, name) >= 0)
		return bad(p, "file %s is declared twice", name);
	if (seq->nr_files == PF_SEQ_FILES_MAX)
		return bad(p, "more than %d files", PF_SEQ_FILES_MAX);
	strcpy(seq->files[seq->nr_files], name);
	return seq->nr_files++;
}

static int known_file(struct parser *p, const char *name, int *out)
{
	*out = find_file(p->seq, name);
	return *out < 0 ? bad(p, "no file '%s' was declared", name) : 0;
}

static int parse_range(struct parser *p, struct pf_step *s, char **words)
{
	int rc = known_file(p, words[0], &s->file);

	rc = rc ? rc : parse_size(p, words[1], &s->off_bytes);
	rc = rc ? rc : parse_size(p, words[2], &s->len_bytes);
	if (!rc && !s->len_bytes)
		return bad(p, "a length of 0 touches nothing");
	return rc;
}

/* Channel and control writes go through the mapping, so they need one, and must lie inside it. */
static int parse_write(struct parser *p, struct pf_step *s, char **words)
{
	int rc = parse_range(p, s, words);

	if (rc)
		return rc;
	if (s->verb != PF_VERB_PWRITE && !p->pinned[s->file])
		return bad(p, "file %s is not pinned here", p->seq->files[s->file]);
	if ((s->verb == PF_VERB_WRITE || s->verb == PF_VERB_HOLD) && s->len_bytes > PF_IO_MAX_BYTES)
		return bad(p, "a channel's write of more than 4M");
	if (p->seq->file_bytes[s->file] &&
	    s->off_bytes + s->len_bytes > p->seq->file_bytes[s->file])
		return bad(p, "the range ends past the %llu bytes file %s was declared with",
			   (unsigned long long)p->seq->file_bytes[s->file],
			   p->seq->files[s->file]);
	return 0;
}

static int parse_file(struct parser *p, struct pf_step *s, char **words)
{
	int state = lookup(words[2], state_names, 3);
	int rc;

	if (state < 0)
		return bad(p, "'%s' is not a state (written, hole, unwritten)", words[2]);
	s->state = (enum pf_state)state;
	rc = parse_size(p, words[1], &s->size_bytes);
	if (rc)
		return rc;
	if (!s->size_bytes)
		return bad(p, "a file of 0 bytes cannot be mapped");
	s->file = add_file(p, words[0]);
	if (s->file < 0)
		return s->file;
	p->seq->file_bytes[s->file] = s->size_bytes;
	return 0;
}

static int parse_pin(struct parser *p, struct pf_step *s, char **words)
{
	bool want = s->verb == PF_VERB_UNPIN;
	int rc = known_file(p, words[0], &s->file);

	if (rc)
		return rc;
	if (p->pinned[s->file] != want)
		return bad(p, "file %s is %s", words[0], want ? "not pinned" : "pinned already");
	if (!p->seq->file_bytes[s->file])
		return bad(p, "file %s has no declared size to map", words[0]);
	p->pinned[s->file] = !want;
	return 0;
}

static int find_hold(const struct parser *p, const char *label)
{
	for (int i = 0; i < PF_SEQ_HOLDS_MAX; i++)
		if (!strcmp(p->holds[i], label))
			return i;
	return -1;
}

static int parse_hold(struct parser *p, struct pf_step *s, char **words)
{
	int rc = parse_name(p, words[0]);

	if (rc)
		return rc;
	if (find_hold(p, words[0]) >= 0)
		return bad(p, "'%s' is held already", words[0]);
	s->hold = find_hold(p, "");
	if (s->hold < 0)
		return bad(p, "more than %d held at once", PF_SEQ_HOLDS_MAX);
	strcpy(p->holds[s->hold], words[0]);
	return parse_write(p, s, words + 1);
}

static int parse_hold_read(struct parser *p, struct pf_step *s, char **words)
{
	int rc = parse_hold(p, s, words);

	if (!rc && s->len_bytes > PF_SEQ_HOLD_READ_BYTES_MAX)
		return bad(p, "a held read of more than 1M");
	return rc;
}

static int parse_land(struct parser *p, struct pf_step *s, char **words)
{
	s->hold = strlen(words[0]) ? find_hold(p, words[0]) : -1;
	if (s->hold < 0)
		return bad(p, "'%s' is not held", words[0]);
	p->holds[s->hold][0] = '\0';
	return 0;
}

static int parse_read(struct parser *p, struct pf_step *s, char **words)
{
	int view = lookup(words[3], view_names, PF_VIEW_NAMES_NR);

	if (view < 0)
		return bad(p, "'%s' is not a view (mmap, buffered, direct, gup)", words[3]);
	s->view = (enum pf_view)view;
	return parse_range(p, s, words);
}

static int parse_look(struct parser *p, struct pf_step *s, char **words)
{
	(void)p;
	(void)s;
	(void)words;
	return 0;
}

static int parse_fault(struct parser *p, struct pf_step *s, char **words)
{
	int rc = known_file(p, words[0], &s->file);

	if (rc)
		return rc;
	switch (s->fault->args) {
	case PF_ARGS_FILE:
		return 0;
	case PF_ARGS_FILE_SIZE:
		return parse_size(p, words[1], &s->size_bytes);
	case PF_ARGS_FILE_RANGE:
		return parse_range(p, s, words);
	case PF_ARGS_FILE_FILE:
		s->file2 = find_file(p->seq, words[1]);
		if (s->file2 == s->file)
			return bad(p, "%s needs two different files", s->fault->name);
		if (s->file2 < 0 && s->fault->prim != PF_PRIM_COPY)
			return bad(p, "no file '%s' was declared", words[1]);
		if (s->file2 < 0)
			s->file2 = add_file(p, words[1]);
		return s->file2 < 0 ? s->file2 : 0;
	}
	return 0;
}

static int fault_words(const struct pf_fault_ops *fault)
{
	switch (fault->args) {
	case PF_ARGS_FILE:
		return 1;
	case PF_ARGS_FILE_SIZE:
	case PF_ARGS_FILE_FILE:
		return 2;
	case PF_ARGS_FILE_RANGE:
		return 3;
	}
	return 0;
}

struct builtin {
	const char *name;
	const char *usage;
	enum pf_verb verb;
	int nr_words;
	int (*parse)(struct parser *p, struct pf_step *s, char **words);
};

static const struct builtin builtins[] = {
	{ "file", "file NAME SIZE written|hole|unwritten", PF_VERB_FILE, 3, parse_file },
	{ "pin", "pin NAME", PF_VERB_PIN, 1, parse_pin },
	{ "unpin", "unpin NAME", PF_VERB_UNPIN, 1, parse_pin },
	{ "hold", "hold LABEL NAME OFF LEN", PF_VERB_HOLD, 4, parse_hold },
	{ "hold-read", "hold-read LABEL NAME OFF LEN", PF_VERB_HOLD_READ, 4, parse_hold_read },
	{ "land", "land LABEL", PF_VERB_LAND, 1, parse_land },
	{ "write", "write NAME OFF LEN", PF_VERB_WRITE, 3, parse_write },
	{ "store", "store NAME OFF LEN", PF_VERB_STORE, 3, parse_write },
	{ "pwrite", "pwrite NAME OFF LEN", PF_VERB_PWRITE, 3, parse_write },
	{ "read", "read NAME OFF LEN mmap|buffered|direct|gup", PF_VERB_READ, 4, parse_read },
	{ "look", "look", PF_VERB_LOOK, 0, parse_look },
};

static int parse_words(struct parser *p, char **words, int nr)
{
	struct pf_seq *seq = p->seq;
	struct pf_step *s = &seq->steps[seq->nr_steps];

	if (seq->nr_steps == PF_SEQ_STEPS_MAX)
		return bad(p, "more than %d steps", PF_SEQ_STEPS_MAX);
	*s = (struct pf_step){ .line = p->line, .file = -1, .file2 = -1, .hold = -1 };
	seq->nr_steps++;
	for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++) {
		if (strcmp(words[0], builtins[i].name))
			continue;
		if (nr - 1 != builtins[i].nr_words)
			return bad(p, "usage: %s", builtins[i].usage);
		s->verb = builtins[i].verb;
		return builtins[i].parse(p, s, words + 1);
	}
	s->verb = PF_VERB_FAULT;
	s->fault = pf_fault_find(words[0]);
	if (!s->fault)
		return bad(p, "'%s' is neither a step nor a fault", words[0]);
	if (nr - 1 != fault_words(s->fault)) {
		static const char *const usage[] = { "NAME", "NAME SIZE", "NAME OFF LEN",
						     "NAME NAME2" };

		return bad(p, "usage: %s %s", s->fault->name, usage[s->fault->args]);
	}
	return parse_fault(p, s, words + 1);
}

static void take_title(struct pf_seq *seq, const char *comment)
{
	while (*comment == '#' || *comment == ' ')
		comment++;
	if (!*seq->title)
		snprintf(seq->title, sizeof(seq->title), "%.95s", comment);
}

static int parse_line(struct parser *p, char *line)
{
	char *words[WORDS_MAX];
	char *hash = strchr(line, '#');
	char *save = NULL;
	int nr = 0;

	if (hash) {
		if (hash == line)
			take_title(p->seq, hash);
		*hash = '\0';
	}
	for (char *w = strtok_r(line, " \t\r", &save); w; w = strtok_r(NULL, " \t\r", &save)) {
		if (nr == WORDS_MAX)
			return bad(p, "too many words");
		words[nr++] = w;
	}
	return nr ? parse_words(p, words, nr) : 0;
}

int pf_seq_parse(struct pf_seq *seq, const char *text, char *err, size_t err_bytes)
{
	struct parser p = { .seq = seq, .err = err, .err_bytes = err_bytes };

	memset(seq, 0, sizeof(*seq));
	while (*text) {
		size_t len = strcspn(text, "\n");
		char line[LINE_BYTES];
		int rc;

		p.line++;
		if (len >= sizeof(line))
			return bad(&p, "line longer than %zu bytes", sizeof(line) - 1);
		memcpy(line, text, len);
		line[len] = '\0';
		rc = parse_line(&p, line);
		if (rc)
			return rc;
		text += len + (text[len] == '\n');
	}
	if (!seq->nr_steps)
		return bad(&p, "a sequence without a step");
	return 0;
}
