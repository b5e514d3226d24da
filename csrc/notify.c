// SPDX-License-Identifier: Apache-2.0
/*
 * notify.c - refused calls arrive, are recorded, and get their errno.
 *
 * Runs in the supervisor, which is no part of the sandbox. A call waits in
 * the kernel until it is answered; the answer is what the program itself says
 * (the errno stands beside SECCOMP_RET_USER_NOTIF), found by running it over
 * the call's registers, which nobody can change meanwhile. Memory of the
 * caller is read for the record alone.
 *
 * Bounded: one round serves so many calls, so many distinct ones are kept,
 * and a counter stays at its maximum.
 * Should: answer every call. Must not: ever let one continue; block.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "notify.h"
#include "sys.h"

#define ROUND_MAX 64
#define NEXT_NS 50000		/* so a round takes a few milliseconds at most */
#define NOTIF_DATA_BYTES 256	/* more than any kernel's struct seccomp_notif */

#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#endif
/* Linux 6.6; older headers lack it */
#define NOTIF_SET_FLAGS _IOW('!', 4, uint64_t)
#define NOTIF_SYNC_WAKE_UP 1ULL

/**
 * struct sbx_notify - a listener and what it recorded
 * @listener: descriptor
 * @may_read: no process under the filter can make a read of its memory hang
 * @started_us: CLOCK_MONOTONIC at the start of the run
 * @code: the program that is loaded
 * @code_count: instructions of @code
 * @count: records in use
 * @lost: calls that found no room
 * @hashes: of the identity of each record
 * @records: in the order of the first
 */
struct sbx_notify {
	int listener;
	int may_read;
	uint64_t started_us;
	struct sock_filter *code;
	size_t code_count;
	uint32_t count;
	uint32_t lost;
	uint32_t hashes[SBX_DENIALS_MAX];
	struct sbx_denial records[SBX_DENIALS_MAX];
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/*
 * A page of the caller's can be one that userfaultfd(2) never delivers; a
 * read of it would keep the supervisor from the deadline. So memory is left
 * alone where the filter lets that call pass.
 */
static int reading_is_safe(const struct sbx_notify *notify, uint32_t arch)
{
	struct seccomp_data data = { .nr = SYS_userfaultfd, .arch = arch };
	uint32_t value;

	if (sbx_bpf_run(notify->code, notify->code_count, &data, &value) < 0)
		return 0;
	return (value & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ALLOW;
}

/* The one program of the plan that notifies, copied: the plan may go first. */
static int program_copy(struct sbx_notify *notify, const void *plan,
			size_t plan_size)
{
	const struct sock_filter *code;
	const struct sbx_filter *filters;
	struct sbx_error error;
	struct sbx_view view;
	size_t count, code_count;
	int err = sbx_plan_check(plan, plan_size, &error);

	if (!err)
		err = sbx_view_open(&view, plan, plan_size, SBX_PLAN_MAGIC,
				    SBX_PLAN_MAX, &error);
	if (err)
		return err;
	code = sbx_records(&view, SBX_SECTION_CODE, &code_count);
	filters = sbx_records(&view, SBX_SECTION_FILTERS, &count);
	if (count != 1 || !(filters->flags & SBX_FILTER_NOTIFY))
		return -EINVAL;
	notify->code = malloc(filters->count * sizeof(*code));
	if (!notify->code)
		return -ENOMEM;
	notify->code_count = filters->count;
	memcpy(notify->code, code + filters->first,
	       filters->count * sizeof(*code));
	return 0;
}

struct sbx_notify *sbx_notify_open(int listener, const void *plan,
				   size_t plan_size, uint64_t started_us)
{
	/* pages are touched as records come */
	struct sbx_notify *notify = calloc(1, sizeof(*notify));

	if (!notify || program_copy(notify, plan, plan_size) < 0) {
		free(notify);
		close(listener);
		return NULL;
	}
	notify->listener = listener;
	notify->started_us = started_us;
	notify->may_read = reading_is_safe(notify, SBX_AUDIT_ARCH);
	/* wakes the caller on this processor; only faster */
	ioctl(listener, NOTIF_SET_FLAGS, NOTIF_SYNC_WAKE_UP);
	return notify;
}

/* FNV-1a over what makes two refusals the same. */
static uint32_t identity(const struct sbx_denial *denial)
{
	const uint32_t numbers[] = { denial->arch, (uint32_t)denial->nr,
				     (uint32_t)denial->error };
	const unsigned char *at = (const unsigned char *)numbers;
	uint32_t hash = 2166136261u;
	size_t i;

	for (i = 0; i < sizeof(numbers); i++)
		hash = (hash ^ at[i]) * 16777619u;
	for (i = 0; denial->text[i]; i++)
		hash = (hash ^ (unsigned char)denial->text[i]) * 16777619u;
	return hash;
}

static int is_same(const struct sbx_denial *a, const struct sbx_denial *b)
{
	return a->nr == b->nr && a->arch == b->arch && a->error == b->error &&
	       !strcmp(a->text, b->text);
}

static void record(struct sbx_notify *notify, const struct seccomp_notif *call,
		   int error)
{
	struct sbx_denial denial = {
		.arch = call->data.arch,
		.nr = call->data.nr,
		.error = error,
		.count = 1,
		.pid = (int32_t)call->pid,
	};
	uint32_t hash, i;

	sbx_denial_text(&call->data, (pid_t)call->pid, notify->may_read,
			denial.text);
	/* gone: what was read may be another process's of the same number */
	if (ioctl(notify->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) < 0)
		return;
	hash = identity(&denial);
	for (i = 0; i < notify->count; i++) {
		if (notify->hashes[i] != hash ||
		    !is_same(&notify->records[i], &denial))
			continue;
		if (notify->records[i].count != UINT32_MAX)
			notify->records[i].count++;
		return;
	}
	if (notify->count == SBX_DENIALS_MAX) {
		if (notify->lost != UINT32_MAX)
			notify->lost++;
		return;
	}
	denial.t_us = now_us() - notify->started_us;
	memcpy(denial.args, call->data.args, sizeof(denial.args));
	sbx_denial_comm((pid_t)call->pid, denial.comm);
	notify->hashes[notify->count] = hash;
	notify->records[notify->count++] = denial;
}

/* The errno that the program states; EPERM where it states none. */
static int answer_of(const struct sbx_notify *notify,
		     const struct seccomp_data *data)
{
	uint32_t value;

	if (sbx_bpf_run(notify->code, notify->code_count, data, &value) < 0 ||
	    (value & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_USER_NOTIF ||
	    !(value & SECCOMP_RET_DATA))
		return EPERM;
	return (int)(value & SECCOMP_RET_DATA);
}

/* Return: 1 served, 0 nothing was there, -errno. */
static int one_serve(struct sbx_notify *notify)
{
	union {
		struct seccomp_notif call;
		char room[NOTIF_DATA_BYTES];
	} in;
	union {
		struct seccomp_notif_resp answer;
		char room[NOTIF_DATA_BYTES];
	} out;
	int error;

	memset(&in, 0, sizeof(in));	/* the kernel insists */
	if (ioctl(notify->listener, SECCOMP_IOCTL_NOTIF_RECV, &in.call) < 0) {
		/* ENOENT: the caller was killed meanwhile */
		return errno == ENOENT || errno == EINTR ? 0 : -errno;
	}
	error = answer_of(notify, &in.call.data);
	record(notify, &in.call, error);
	memset(&out, 0, sizeof(out));
	out.answer.id = in.call.id;
	out.answer.error = -error;
	/* ENOENT: killed, or a signal came and the call will come again */
	if (ioctl(notify->listener, SECCOMP_IOCTL_NOTIF_SEND, &out.answer) < 0 &&
	    errno != ENOENT && errno != EINTR)
		return -errno;
	return 1;
}

int sbx_notify_serve(struct sbx_notify *notify)
{
	struct timespec patience = { 0, 0 };
	int served;

	for (served = 0; served < ROUND_MAX; served++) {
		struct pollfd poll_fd = { .fd = notify->listener,
					  .events = POLLIN };
		int err;

		if (ppoll(&poll_fd, 1, &patience, NULL) <= 0)
			break;
		/* who was refused once is often refused again at once */
		patience.tv_nsec = NEXT_NS;
		if (!(poll_fd.revents & POLLIN))
			return served ? served : -EPIPE;
		err = one_serve(notify);
		if (err < 0)
			return err;
	}
	return served;
}

const struct sbx_denial *sbx_notify_denials(const struct sbx_notify *notify)
{
	return notify->records;
}

uint32_t sbx_notify_count(const struct sbx_notify *notify)
{
	return notify->count;
}

uint32_t sbx_notify_lost(const struct sbx_notify *notify)
{
	return notify->lost;
}

void sbx_notify_close(struct sbx_notify *notify)
{
	if (!notify)
		return;
	close(notify->listener);
	free(notify->code);
	free(notify);
}
