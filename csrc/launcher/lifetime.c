// SPDX-License-Identifier: Apache-2.0
/*
 * lifetime.c - the child of a run: signals, and the end of its whole tree.
 *
 * Runs in the supervisor. The kernel ends a pid namespace with its pid 1.
 * Without one it is init that ends the tree (csrc/tree.c), so init is asked
 * and not killed; and where somebody else killed it, what it leaves behind
 * becomes ours, since we are a subreaper, and is ended here. That is why such
 * a run is only for a supervisor without other children.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "supervise.h"
#include "sys.h"

#define GONE_MS 10000
#define ROUNDS_MAX 10000	/* a tree that forks faster than it is ended */
#define CHILDREN "/proc/thread-self/children"

/**
 * sbx_lifetime_prepare - before the clone
 * Return: 0 or -errno.
 */
int sbx_lifetime_prepare(int has_namespace)
{
	return has_namespace ? 0 : sbx_orphans_adopt();
}

/**
 * sbx_child_signal - send a signal to pid 1, which passes it on
 *
 * Fails only where it has ended meanwhile: then nothing is left to signal.
 */
void sbx_child_signal(const struct sbx_child *child, int number)
{
	if (child->pidfd >= 0)
		syscall(SBX_NR_PIDFD_SEND_SIGNAL, child->pidfd, number, NULL,
			0);
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/**
 * sbx_child_kill - end every process of the sandbox now
 */
void sbx_child_kill(struct sbx_child *child, int has_namespace)
{
	if (has_namespace)
		sbx_child_signal(child, SIGKILL);
	else
		fd_close(&child->control_fd);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Kill and reap what became ours; one number after the other, unreaped
 * meanwhile, so that none belongs to another process. */
static void orphans_end(void)
{
	int round;

	for (round = 0; round < ROUNDS_MAX; round++) {
		char text[32];
		ssize_t size;
		pid_t pid;
		int fd = open(CHILDREN, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return;
		size = read(fd, text, sizeof(text) - 1);
		close(fd);
		if (size <= 0)
			return;
		text[size] = '\0';
		pid = (pid_t)strtol(text, NULL, 10);
		if (pid <= 1)
			return;
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
			;
	}
}

/* Wait until pid 1, and with it the namespace, is gone; reap it. */
static int wait_gone(struct sbx_child *child, int has_namespace)
{
	struct pollfd gone = { .fd = child->pidfd, .events = POLLIN };
	int64_t deadline = now_ms() + GONE_MS;
	int64_t left;
	int status = 0;

	while ((left = deadline - now_ms()) > 0) {
		int ready = poll(&gone, 1, (int)left);

		if (ready > 0)
			break;
		if (ready < 0 && errno != EINTR)
			return 0;
	}
	if (left <= 0)
		return 0;
	/* the child has no exit signal: csrc/spawn.c */
	while (waitpid(child->pid, &status, __WALL) < 0)
		if (errno != EINTR)
			break;
	child->pid = -1;
	if (!has_namespace && !WIFEXITED(status))
		orphans_end();
	return 1;
}

/**
 * sbx_child_end - end what is left, wait until it is gone, reap pid 1
 *
 * Only what the kernel itself keeps (a device that does not answer) can last
 * longer than ten seconds; it ends later, and nobody waits for it.
 */
void sbx_child_end(struct sbx_child *child, int has_namespace)
{
	if (child->pid < 0)
		return;
	sbx_child_kill(child, has_namespace);
	if (!wait_gone(child, has_namespace) && !has_namespace) {
		sbx_child_signal(child, SIGKILL);	/* a stopped init */
		wait_gone(child, has_namespace);
	}
}

/**
 * sbx_child_close - close the descriptors of an ended child
 */
void sbx_child_close(struct sbx_child *child)
{
	fd_close(&child->control_fd);
	fd_close(&child->error_fd);
	fd_close(&child->status_fd);
	fd_close(&child->handover_fd);
	fd_close(&child->pidfd);
}
