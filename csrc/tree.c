// SPDX-License-Identifier: Apache-2.0
/*
 * tree.c - the end of every process, where no pid namespace brings it.
 *
 * Runs in init and in the command of a plan without namespaces. Init is a
 * subreaper: whatever loses its parent becomes its child, so nothing below it
 * gets away by a double fork. Before the command exists, init enters a
 * Landlock domain of its own that only scopes signals (ABI 6). From then on
 * kill(-1) of init reaches its descendants, all of them at once, and nobody
 * else; and the command, in a domain below, cannot signal init or anything
 * outside. That the domain holds is proved before it is relied on. Without
 * it init kills its children round by round until none is left.
 *
 * Should: end only what descends from init. Must not: send a signal to -1
 * without the proof; signal a pid that is not an unreaped child.
 */
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "core.h"
#include "sys.h"

#define SCOPE_SIGNAL (1ULL << 1)	/* LANDLOCK_SCOPE_SIGNAL, ABI 6 */
#define CHILDREN "/proc/thread-self/children"

/*
 * Enter the domain and prove it: the supervisor, which had the same id and
 * could be signalled a moment ago, no longer can be.
 */
static int domain_enter(struct sbx_context *ctx)
{
	int err;

	if (getppid() != ctx->supervisor_pid)
		return -EPIPE;	/* the supervisor is gone */
	if (kill(ctx->supervisor_pid, 0) < 0)
		return -errno;
	err = sbx_landlock_scope(SCOPE_SIGNAL);
	if (err)
		return err;
	if (kill(ctx->supervisor_pid, 0) == 0 || errno != EPERM)
		return -EPROTO;
	ctx->is_domain_proved = 1;
	return 0;
}

/**
 * sbx_tree_prepare - be the one whom every orphan of the run comes back to
 * Context: init, before the fork of the command.
 * Return: 0, or -errno where the end of the tree could not be promised.
 */
int sbx_tree_prepare(struct sbx_context *ctx)
{
	int fd;

	ctx->init_pid = (pid_t)syscall(SYS_getpid);
	if (ctx->core->namespaces & SBX_CLONE_NEWPID)
		return 0;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (ctx->core->landlock_scoped & SCOPE_SIGNAL)
		return domain_enter(ctx);
	fd = open(CHILDREN, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/**
 * sbx_tree_follow - the command ends with init
 *
 * Init has one thread, so the parent-death signal follows the process here.
 * Context: command, right after the fork.
 */
int sbx_tree_follow(struct sbx_context *ctx)
{
	if (ctx->core->namespaces & SBX_CLONE_NEWPID)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	/* it may have ended before the line above */
	return getppid() == ctx->init_pid ? 0 : -EPIPE;
}

/* Kill the direct children. They are not reaped meanwhile, so that none of
 * the numbers can belong to another process. */
static void children_kill(void)
{
	char text[4096];
	ssize_t size, at;
	pid_t pid = 0;
	int fd = open(CHILDREN, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	size = read(fd, text, sizeof(text));
	close(fd);
	for (at = 0; at < size; at++) {
		if (text[at] >= '0' && text[at] <= '9') {
			pid = pid * 10 + (text[at] - '0');
			continue;
		}
		/* a number that the buffer cuts off is left for later */
		if (pid > 1)
			kill(pid, SIGKILL);
		pid = 0;
	}
}

/**
 * sbx_tree_end - kill every process below init, and reap it
 * Context: init.
 */
void sbx_tree_end(struct sbx_context *ctx)
{
	if (ctx->core->namespaces & SBX_CLONE_NEWPID)
		return;		/* the kernel does it when pid 1 ends */
	for (;;) {
		if (ctx->is_domain_proved)
			kill(-1, SIGKILL);
		else
			children_kill();
		if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
			return;
	}
}
