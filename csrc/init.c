// SPDX-License-Identifier: Apache-2.0
/*
 * init.c - pid 1 of the sandbox; in a plan without namespaces an ordinary
 * process that does the same (tree.c).
 *
 * Runs in the child after it forked the command. Where it still has the
 * capabilities of its user namespace, the first thing it does is to lose them.
 * It reaps, forwards signals of the supervisor, reports how the command
 * ended, and ends itself, which ends every process of the namespace:
 * - when the command has ended (or, under WAIT_ALL, the last process), or
 * - when the control pipe closes, that is, when the supervisor is gone.
 *   PDEATHSIG is not used: it follows the thread that cloned, which may end
 *   long before the process does.
 *
 * With a terminal (terminal.c) it also reports each stop of the command, and
 * after the end it waits for the supervisor, which has yet to read what is
 * left: the end of the session's leader would throw that away.
 *
 * Should: hold no descriptor but its three and the terminal. Must not: obey a signal sent from
 * inside; allocate; outlive the supervisor.
 */
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "core.h"
#include "sys.h"

#define CONTROL_FD 0
#define STATUS_FD 1
#define SIGNAL_FD 2

static uint64_t microseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000u + (uint64_t)time->tv_usec;
}

static void status_report(const struct sbx_context *ctx, int wait_status)
{
	struct sbx_status status = {
		.wait_status = wait_status,
		.command_pid = ctx->command_pid,
		.degraded = ctx->degraded,
	};
	struct rusage usage;

	if (getrusage(RUSAGE_CHILDREN, &usage) == 0) {
		status.user_us = microseconds(&usage.ru_utime);
		status.system_us = microseconds(&usage.ru_stime);
		status.max_rss_kib = (uint64_t)usage.ru_maxrss;
		status.switches = (uint64_t)usage.ru_nvcsw +
				  (uint64_t)usage.ru_nivcsw;
	}
	/* one write, below PIPE_BUF: whole or not at all. If nobody reads,
	 * the supervisor is gone and pid 1 is about to be. */
	if (write(STATUS_FD, &status, sizeof(status)) < 0)
		_exit(1);
}

/* The command stopped: the supervisor stops with it, or gives it the terminal. */
static void stop_report(const struct sbx_context *ctx, int wait_status)
{
	const struct sbx_status status = {
		.wait_status = wait_status,
		.command_pid = ctx->command_pid,
	};

	if (WSTOPSIG(wait_status) == SIGTTIN || WSTOPSIG(wait_status) == SIGTTOU)
		sbx_terminal_grant(ctx);
	if (write(STATUS_FD, &status, sizeof(status)) < 0)
		_exit(1);
}

/*
 * The command ended. With a terminal, end the others too: then nobody holds
 * it any more, and the supervisor reads to the end of what was written.
 */
static void command_ended(const struct sbx_context *ctx, int wait_status)
{
	int has_group = (ctx->core->namespaces & SBX_CLONE_NEWPID) != 0;

	if (ctx->terminal_fd < 0) {
		status_report(ctx, wait_status);
		return;
	}
	/* -1 is every process of the namespace; without one, of the user */
	if (has_group && !(ctx->core->flags & SBX_PLAN_WAIT_ALL))
		kill(-1, SIGKILL);
	status_report(ctx, wait_status);
	close(SBX_TERMINAL_FD);
	for (;;) {
		struct pollfd control = { .fd = CONTROL_FD, .events = 0 };

		if (poll(&control, 1, -1) > 0)
			_exit(0);
	}
}

/*
 * Reap everything that has ended.
 * Return: 1 when pid 1 is to end.
 */
static int reap(struct sbx_context *ctx)
{
	int is_last = ctx->core->flags & SBX_PLAN_WAIT_ALL ? 0 : 1;
	int options = WNOHANG | (ctx->terminal_fd >= 0 ? WUNTRACED : 0);

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, options);

		if (pid == 0)
			return 0;
		if (pid < 0) {
			if (errno == EINTR)
				continue;
			/* ECHILD: nothing is left */
			if (ctx->is_command_done)
				command_ended(ctx, ctx->command_status);
			return 1;
		}
		if (pid != ctx->command_pid)
			continue;
		if (WIFSTOPPED(status)) {
			stop_report(ctx, status);
			continue;
		}
		ctx->command_status = status;
		ctx->is_command_done = 1;
		if (is_last) {
			command_ended(ctx, status);
			return 1;
		}
	}
}

static void forward(const struct sbx_context *ctx, int signal_number)
{
	pid_t group = -ctx->command_pid;

	switch (signal_number) {
	case SIGTSTP:
		/* the command's group is orphaned: SIGTSTP is ignored there */
		signal_number = SIGSTOP;
		break;
	default:
		break;
	}
	/* before setsid(2) there is no group of that number yet */
	if (kill(group, signal_number) < 0)
		kill(ctx->command_pid, signal_number);
}

/* Seen from a pid namespace a sender outside has the number 0; without one
 * only the supervisor is listened to. */
static int is_from_outside(const struct sbx_context *ctx,
			   const struct signalfd_siginfo *info)
{
	pid_t sender = ctx->core->namespaces & SBX_CLONE_NEWPID ?
		0 : ctx->supervisor_pid;

	return info->ssi_pid == (uint32_t)sender;
}

static int signals_read(struct sbx_context *ctx)
{
	struct signalfd_siginfo info;
	int must_reap = 0;

	while (read(SIGNAL_FD, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			must_reap = 1;
			break;
		case SIGTERM:
		case SIGINT:
		case SIGHUP:
		case SIGQUIT:
		case SIGUSR1:
		case SIGUSR2:
		case SIGWINCH:
		case SIGTSTP:
		case SIGCONT:
			if (is_from_outside(ctx, &info))
				forward(ctx, (int)info.ssi_signo);
			break;
		default:
			break;
		}
	}
	return must_reap ? reap(ctx) : 0;
}

/* Keep only control, status, a signalfd and the terminal, as 0, 1, 2 and 3. */
static int descriptors_reduce(struct sbx_context *ctx)
{
	sigset_t all;
	int control = fcntl(ctx->control_fd, F_DUPFD_CLOEXEC, 4);
	int status = fcntl(ctx->status_fd, F_DUPFD_CLOEXEC, 4);
	int has_terminal = ctx->terminal_fd >= 0;
	int fd;

	if (control < 0 || status < 0)
		return -errno;
	if (dup2(control, CONTROL_FD) < 0 || dup2(status, STATUS_FD) < 0)
		return -errno;
	sigfillset(&all);
	fd = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0 || (fd != SIGNAL_FD && dup2(fd, SIGNAL_FD) < 0))
		return -errno;
	if (has_terminal && ctx->terminal_fd != SBX_TERMINAL_FD &&
	    dup2(ctx->terminal_fd, SBX_TERMINAL_FD) < 0)
		return -errno;
	return sys_close_range(SIGNAL_FD + 1 + (unsigned int)has_terminal, ~0u);
}

static void __attribute__((noreturn)) leave(struct sbx_context *ctx, int code)
{
	sbx_tree_end(ctx);
	_exit(code);
}

/**
 * sbx_init_main - be pid 1 until the command or the supervisor ends
 * Context: pid 1. Every signal is blocked on entry and stays so.
 */
void sbx_init_main(struct sbx_context *ctx)
{
	struct pollfd fds[2] = {
		{ .fd = CONTROL_FD, .events = 0 },	/* POLLHUP only */
		{ .fd = SIGNAL_FD, .events = POLLIN },
	};

	prctl(PR_SET_NAME, "sandbox-init", 0, 0, 0);
	if (descriptors_reduce(ctx) < 0)
		leave(ctx, 1);
	if (!ctx->is_unprivileged &&
	    (ctx->core->namespaces & SBX_CLONE_NEWUSER ?
	     sbx_caps_drop_all(ctx) : sbx_caps_drop_own()) < 0)
		leave(ctx, 1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		leave(ctx, 1);
	/* the command may have ended before the signalfd was there */
	if (reap(ctx))
		leave(ctx, 0);
	for (;;) {
		int ready = poll(fds, 2, -1);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0 || fds[0].revents)
			leave(ctx, 1);
		if (fds[1].revents && signals_read(ctx))
			leave(ctx, 0);
	}
}
