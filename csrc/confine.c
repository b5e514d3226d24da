// SPDX-License-Identifier: Apache-2.0
/*
 * confine.c - what the command's process gives up before it runs.
 *
 * Runs in the command's process, after the fork from pid 1. On entry it has
 * every capability of the user namespace, the caller's limits and pid 1's
 * descriptors; on exit of the last stage it has what the plan says.
 *
 * Must not: fail open. A right that cannot be dropped is an error.
 */
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "core.h"
#include "sys.h"

#define CAP_BITS 64
#define LOWEST_PRIORITY 19	/* setpriority(2) */

/**
 * sbx_stage_session - an own session, default signals, the caller's umask
 *
 * A command without the caller's controlling terminal cannot push input into
 * it and is no part of its job control (CVE-2017-5226). With a terminal of
 * its own it is a process group of pid 1's session. Dispositions were reset at
 * the start of the child; the mask comes back here.
 * Context: command.
 */
int sbx_stage_session(struct sbx_context *ctx)
{
	uint32_t mask = ctx->core->umask_octal;

	if (ctx->terminal_fd >= 0) {
		int err = sbx_terminal_join(ctx);

		if (err)
			return err;
	} else if (ctx->core->flags & SBX_PLAN_NEW_SESSION || ctx->is_served) {
		/* one of several commands is also signalled by its group */
		if (setsid() < 0)
			return -errno;
	}
	umask(mask == SBX_NONE ? ctx->umask_octal : (mode_t)mask);
	if (sigprocmask(SIG_SETMASK, &ctx->signal_mask, NULL) < 0)
		return -errno;
	if (ctx->run->flags & SBX_INVOCATION_BARRIER) {
		char byte;
		ssize_t got;

		do {
			got = read(ctx->control_fd, &byte, 1);
		} while (got < 0 && errno == EINTR);
		if (got != 1 || byte != 'G')
			return -EPIPE;
	}
	return 0;
}

/**
 * sbx_stage_chdir - the working directory, by its path inside
 * Context: command.
 */
int sbx_stage_chdir(struct sbx_context *ctx)
{
	const char *cwd = sbx_string(&ctx->invocation, ctx->run->cwd);

	return chdir(cwd) < 0 ? -errno : 0;
}

/**
 * sbx_stage_rlimits - setrlimit(2) for each record, and the priority
 *
 * A hard limit above the present one would need CAP_SYS_RESOURCE of the
 * initial namespace; the lower of the two is the tighter, and is taken.
 * Context: command.
 */
int sbx_stage_rlimits(struct sbx_context *ctx)
{
	size_t count, i;
	const struct sbx_rlimit *limits =
		sbx_records(&ctx->plan, SBX_SECTION_RLIMITS, &count);

	for (i = 0; i < count; i++) {
		struct rlimit wanted = {
			.rlim_cur = (rlim_t)limits[i].soft,
			.rlim_max = (rlim_t)limits[i].hard,
		};
		struct rlimit present;

		ctx->error.op = (int32_t)i;
		if (getrlimit((int)limits[i].resource, &present) < 0)
			return -errno;
		if (wanted.rlim_max > present.rlim_max)
			wanted.rlim_max = present.rlim_max;
		if (wanted.rlim_cur > wanted.rlim_max)
			wanted.rlim_cur = wanted.rlim_max;
		if (setrlimit((int)limits[i].resource, &wanted) < 0)
			return -errno;
	}
	ctx->error.op = -1;
	if (ctx->core->flags & SBX_PLAN_LOW_PRIORITY &&
	    setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY) < 0)
		return -errno;
	return 0;
}

static int capset_to(uint64_t kept, uint64_t inheritable)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];
	int i;

	memset(data, 0, sizeof(data));
	for (i = 0; i < 2; i++) {
		uint32_t half = (uint32_t)(kept >> (32 * i));

		data[i].effective = half;
		data[i].permitted = half;
		data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int bounding_drop(uint64_t kept)
{
	int cap;

	for (cap = 0; cap < CAP_BITS; cap++) {
		if (kept & (1ULL << cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, (unsigned long)cap, 0, 0, 0) < 0) {
			/* above the kernel's last capability */
			if (errno == EINVAL)
				break;
			return -errno;
		}
	}
	return 0;
}

/**
 * sbx_caps_bound - take from the bounding set what the plan does not keep
 *
 * Once, before the command is forked, so that it and pid 1 need not do it each:
 * there are 41 calls. The other sets stay as they are.
 * Context: pid 1, with CAP_SETPCAP in its namespace.
 */
int sbx_caps_bound(struct sbx_context *ctx)
{
	int err;

	if (!(ctx->core->namespaces & SBX_CLONE_NEWUSER))
		return 0;
	err = bounding_drop(ctx->core->caps);
	ctx->is_bounded = !err;
	return err;
}

/**
 * sbx_caps_drop_all - empty every capability set of the calling process
 * Context: pid 1.
 */
int sbx_caps_drop_all(const struct sbx_context *ctx)
{
	int is_empty = ctx->is_bounded && !ctx->core->caps;
	int err = is_empty ? 0 : bounding_drop(0);

	if (err)
		return err;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return capset_to(0, 0);
}

/**
 * sbx_caps_drop_own - empty every set that needs no capability to be emptied
 *
 * Without a user namespace of our own the bounding set may stay; under
 * no_new_privs, which such a plan must have, exec adds nothing from it.
 * Context: any process.
 */
int sbx_caps_drop_own(void)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return capset_to(0, 0);
}

/**
 * sbx_caps_keep_for_commands - what a pid 1 that has yet to fork keeps
 *
 * CAP_SETPCAP, with which each command empties its own sets, and what the
 * plan leaves to it. The rest is gone for good: the bounding set loses it.
 * Context: pid 1 that serves; it has every capability of its namespace.
 */
int sbx_caps_keep_for_commands(const struct sbx_context *ctx)
{
	uint64_t kept = ctx->core->caps | 1ULL << CAP_SETPCAP;
	int err = bounding_drop(kept);

	if (err)
		return err;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return capset_to(kept, 0);
}

/**
 * sbx_stage_caps - securebits, then every capability set
 *
 * Securebits first: they need CAP_SETPCAP. Kept capabilities go into the
 * ambient set for a command that is not root inside, or execve(2) would
 * drop them; root has them by its id and the bounding set, and an empty
 * inheritable set (CVE-2022-24769).
 * Context: command; or pid 1 in its place, where the command keeps none.
 */
int sbx_stage_caps(struct sbx_context *ctx)
{
	uint64_t kept = ctx->core->caps;
	uint64_t inheritable = ctx->core->uid ? kept : 0;
	int cap, err;

	if (ctx->is_unprivileged)
		return 0;
	if (!(ctx->core->namespaces & SBX_CLONE_NEWUSER))
		return sbx_caps_drop_own();
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	err = ctx->is_bounded ? 0 : bounding_drop(kept);
	if (err)
		return err;
	/* the inheritable set may only hold what the bounding set has left */
	err = capset_to(kept | 1ULL << CAP_SETPCAP, inheritable);
	for (cap = 0; cap < CAP_BITS && kept && ctx->core->uid && !err; cap++)
		if (kept & (1ULL << cap) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE,
			  (unsigned long)cap, 0, 0) < 0)
			err = -errno;
	if (!err && ctx->core->securebits &&
	    prctl(PR_SET_SECUREBITS, (unsigned long)ctx->core->securebits, 0,
		  0, 0) < 0)
		err = -errno;
	return err ? err : capset_to(kept, inheritable);
}

/**
 * sbx_stage_no_new_privs - set-user-id bits and file capabilities are void
 * Context: command.
 */
int sbx_stage_no_new_privs(struct sbx_context *ctx)
{
	if (!(ctx->core->flags & SBX_PLAN_NO_NEW_PRIVS))
		return 0;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/*
 * Close every descriptor that is not in the sorted list @kept.
 * close_range(2) is Linux 5.9, older than anything else needed here.
 */
static int close_others(const int *kept, size_t count)
{
	unsigned int next = 0;
	size_t i;
	int err;

	for (i = 0; i < count; i++) {
		unsigned int fd = (unsigned int)kept[i];

		if (fd > next) {
			err = sys_close_range(next, fd - 1);
			if (err)
				return err;
		}
		next = fd + 1;
	}
	return sys_close_range(next, ~0u);
}

static void sorted_insert(int *list, size_t count, int value)
{
	while (count && list[count - 1] > value) {
		list[count] = list[count - 1];
		count--;
	}
	list[count] = value;
}

/**
 * sbx_stage_fds - the command's descriptors, and no others
 *
 * Sources are first copied above every target, since a map may swap
 * numbers; the error pipe and the socket that the listener leaves by move up
 * too, and close themselves at exec.
 * A source that the caller has closed stays closed inside.
 * Context: command.
 */
int sbx_stage_fds(struct sbx_context *ctx)
{
	size_t count, i, kept_count = 0;
	const struct sbx_fd_map *fds =
		sbx_records(&ctx->invocation, SBX_SECTION_FDS, &count);
	int copies[SBX_FDS_MAX];
	int kept[SBX_FDS_MAX + 2];
	int floor = 3;

	for (i = 0; i < count; i++)
		if (fds[i].target >= floor)
			floor = fds[i].target + 1;
	ctx->error_fd = fcntl(ctx->error_fd, F_DUPFD_CLOEXEC, floor);
	if (ctx->error_fd < 0)
		return -errno;
	if (ctx->is_notifying) {
		ctx->handover_fd = fcntl(ctx->handover_fd, F_DUPFD_CLOEXEC,
					 floor);
		if (ctx->handover_fd < 0)
			return -errno;
	}
	for (i = 0; i < count; i++) {
		int source = fds[i].source == SBX_FD_TERMINAL ? ctx->terminal_fd
							      : fds[i].source;

		copies[i] = fcntl(source, F_DUPFD_CLOEXEC, floor);
		if (copies[i] < 0 && errno != EBADF)
			return -errno;
	}
	for (i = 0; i < count; i++) {
		if (copies[i] < 0)
			continue;
		if (dup2(copies[i], fds[i].target) < 0)
			return -errno;
		sorted_insert(kept, kept_count++, fds[i].target);
	}
	sorted_insert(kept, kept_count++, ctx->error_fd);
	if (ctx->is_notifying)
		sorted_insert(kept, kept_count++, ctx->handover_fd);
	return close_others(kept, kept_count);
}
