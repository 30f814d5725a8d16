// SPDX-License-Identifier: GPL-2.0
/* explore_turn.c - processes of one CPU, one of which runs; explore.h says why. */
#include "explore.h"

void explore_turn_init(struct explore_turn *t)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t cond;

	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&t->lock, &mutex);
	pthread_condattr_init(&cond);
	pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&t->first, &cond);
	pthread_cond_init(&t->other, &cond);
}

void explore_turn_take(struct explore_turn *t, bool first)
{
	pthread_mutex_lock(&t->lock);
	if (first)
		atomic_fetch_add(&t->nr_first, 1);
	while (t->taken || (!first && atomic_load(&t->nr_first)))
		pthread_cond_wait(first ? &t->first : &t->other, &t->lock);
	if (first)
		atomic_fetch_sub(&t->nr_first, 1);
	t->taken = true;
	pthread_mutex_unlock(&t->lock);
}

void explore_turn_give(struct explore_turn *t)
{
	pthread_mutex_lock(&t->lock);
	t->taken = false;
	pthread_cond_signal(atomic_load(&t->nr_first) ? &t->first : &t->other);
	pthread_mutex_unlock(&t->lock);
}
