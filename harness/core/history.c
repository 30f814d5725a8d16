// SPDX-License-Identifier: GPL-2.0
/* history.c - the writer of histories; see history.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "history.h"
#include "token.h"

void pf_history_open(struct pf_history *h, int fd, const char *prefix)
{
	h->fd = fd;
	h->prefix = prefix;
	h->last_op = 0;
	h->eager = false;
	h->keep = h->cut = false;
	h->add_ns = 0;
	h->used = 0;
	pthread_mutex_init(&h->lock, NULL);
	pf_history_line(h, "pinfault-history %d", PF_HISTORY_VERSION);
}

static void flush_locked(struct pf_history *h)
{
	size_t at = 0;

	if (h->keep)
		return;
	while (at < h->used) {
		ssize_t n = write(h->fd, h->buf + at, h->used - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* the reader is gone: nobody is left to tell */
		at += (size_t)n;
	}
	h->used = 0;
}

static void append_locked(struct pf_history *h, const char *bytes, size_t len)
{
	if (h->used + len > sizeof(h->buf))
		flush_locked(h);
	if (h->used + len > sizeof(h->buf)) {
		h->cut = true;
		return;
	}
	memcpy(h->buf + h->used, bytes, len);
	h->used += len;
}

static void line_locked(struct pf_history *h, const char *line)
{
	char out[3 * PF_HISTORY_LINE_BYTES];
	size_t len;

	if (!h->prefix) {
		append_locked(h, line, strlen(line));
		append_locked(h, "\n", 1);
		if (h->eager)
			flush_locked(h);
		return;
	}
	len = (size_t)snprintf(out, sizeof(out), "%s", h->prefix);
	len += pf_token_encode(out + len, sizeof(out) - len - 1, line);
	out[len++] = '\n';
	append_locked(h, out, len);
	if (h->eager)
		flush_locked(h);
}

void pf_history_line(struct pf_history *h, const char *fmt, ...)
{
	char line[PF_HISTORY_LINE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&h->lock);
	line_locked(h, line);
	pthread_mutex_unlock(&h->lock);
}

__attribute__((format(printf, 3, 0))) static void inv_locked(struct pf_history *h, uint32_t op,
							      const char *fmt, va_list ap)
{
	char line[PF_HISTORY_LINE_BYTES];
	int at = snprintf(line, sizeof(line), "inv %u %llu ", op,
			  (unsigned long long)pf_history_now_ns(h));

	vsnprintf(line + at, sizeof(line) - (size_t)at, fmt, ap);
	line_locked(h, line);
}

uint32_t pf_history_inv(struct pf_history *h, const char *fmt, ...)
{
	uint32_t op;
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&h->lock);
	op = ++h->last_op;
	inv_locked(h, op, fmt, ap);
	pthread_mutex_unlock(&h->lock);
	va_end(ap);
	return op;
}

void pf_history_inv_as(struct pf_history *h, uint32_t op, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pthread_mutex_lock(&h->lock);
	inv_locked(h, op, fmt, ap);
	pthread_mutex_unlock(&h->lock);
	va_end(ap);
}

uint32_t pf_history_reserve(struct pf_history *h)
{
	uint32_t op;

	pthread_mutex_lock(&h->lock);
	op = ++h->last_op;
	pthread_mutex_unlock(&h->lock);
	return op;
}

void pf_history_ret(struct pf_history *h, uint32_t op, long value, const char *detail)
{
	char text[512] = "", line[1024];
	int at;

	if (detail && *detail)
		pf_token_encode(text, sizeof(text), detail);
	pthread_mutex_lock(&h->lock);
	at = snprintf(line, sizeof(line), "ret %u %llu ", op,
		      (unsigned long long)pf_history_now_ns(h));
	if (value >= 0)
		snprintf(line + at, sizeof(line) - (size_t)at, "ok %ld%s%s", value,
			 *text ? " " : "", text);
	else
		snprintf(line + at, sizeof(line) - (size_t)at, "err %s%s%s",
			 pf_errno_name((int)-value), *text ? " " : "", text);
	line_locked(h, line);
	pthread_mutex_unlock(&h->lock);
}

void pf_history_redirect(struct pf_history *h, int fd, const char *prefix)
{
	pthread_mutex_lock(&h->lock);
	flush_locked(h);
	h->fd = fd;
	h->prefix = prefix;
	h->eager = true;
	pthread_mutex_unlock(&h->lock);
}

uint64_t pf_history_now_ns(const struct pf_history *h)
{
	return pf_now_ns() + h->add_ns;
}

void pf_history_flush(struct pf_history *h)
{
	pthread_mutex_lock(&h->lock);
	flush_locked(h);
	pthread_mutex_unlock(&h->lock);
}

const char *pf_errno_name(int err)
{
	static __thread char number[16];
	const char *name = strerrorname_np(err);

	if (name)
		return name;
	snprintf(number, sizeof(number), "E%d", err);
	return number;
}
