// SPDX-License-Identifier: GPL-2.0
/* fell.c - see fell.h. */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "fell.h"

static struct fell *noted_in;

static void note(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;

	if (noted_in->signal) /* another thread was first */
		return;
	noted_in->signal = sig;
	noted_in->addr = (uintptr_t)info->si_addr;
#ifdef __x86_64__
	noted_in->ip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
#else
	(void)uc;
#endif
	raise(sig); /* SA_RESETHAND: ends it when this returns */
}

void fell_note_in(struct fell *f)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGABRT };
	struct sigaction sa = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESETHAND };

	noted_in = f;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &sa, NULL);
}

void fell_text(const struct fell *f, int signal, char *out, size_t bytes)
{
	Dl_info where;
	const char *name;

	if (f->signal != signal || !dladdr((const void *)f->ip, &where) || !where.dli_fname) {
		snprintf(out, bytes, "%d", signal);
		return;
	}
	name = strrchr(where.dli_fname, '/');
	snprintf(out, bytes, "%d at %s+%#zx (%s), address %#zx", signal,
		 name ? name + 1 : where.dli_fname,
		 (size_t)(f->ip - (uintptr_t)where.dli_fbase),
		 where.dli_sname ? where.dli_sname : "?", (size_t)f->addr);
}
