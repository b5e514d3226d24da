// SPDX-License-Identifier: Apache-2.0
/*
 * serve.c - pid 1 of many commands: each comes as a request.
 *
 * Runs in the child after the first part of the stages. The view is built;
 * pid 1 forks a process that goes through the second part as far as no request
 * changes it and then waits for one (request.c). When it has taken one it says
 * so here and hands over the socket of who asked; pid 1 forks the next. The
 * commands share the view, the processes and what they leave behind.
 *
 * pid 1 keeps CAP_SETPCAP and what the plan leaves to the commands, and no
 * other capability; it is not dumpable and never looks into a request. Every
 * message is a few bytes of fixed size.
 *
 * Should: report each end to who asked. Must not: allocate; wait for a command;
 * outlive the supervisor.
 */
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "core.h"
#include "sys.h"

#define CONTROL_FD 0
#define STATUS_FD 1
#define SIGNAL_FD 2
#define REQUESTS_FD 3
#define TAKEN_FD 4		/* pid 1's end */
#define TELL_FD 5		/* the commands' */
#define RULESET_FD 6
#define KEPT_COUNT 7
#define FIRST_POLL 4		/* after control, signals, requests, taken */
#define DEATHS_MAX 3

/**
 * struct command - a process that pid 1 forked
 * @pid: 0 where the entry is free
 * @reply_fd: socket to who asked for it, or -1: nobody is there
 * @cause: SBX_CAUSE_TIMEOUT once its time was up
 * @grace_ms: from TERM to KILL
 * @deadline_ms: the next of both, as now_ms(); 0: none
 */
struct command {
	pid_t pid;
	int reply_fd;
	uint32_t cause;
	uint32_t grace_ms;
	int64_t deadline_ms;
};

/**
 * struct server - pid 1's state
 * @waiting: the process that waits for a request; it has an entry, too
 * @deaths: of waiting processes, one after the other
 * @used: entries of @commands ever used
 */
struct server {
	struct sbx_context *ctx;
	pid_t waiting;
	int deaths;
	size_t used;
	struct command commands[SBX_COMMANDS_MAX];
};

/*
 * Number everything that is kept from 0 on, close the rest.
 * Context: ctx->error_fd is kept as well, above those.
 */
static int descriptors_arrange(struct sbx_context *ctx)
{
	int sources[KEPT_COUNT] = { ctx->control_fd, ctx->status_fd, -1,
				    ctx->requests_fd, -1, -1,
				    ctx->ruleset_fd };
	sigset_t all;
	int pair[2];
	int i, err;

	sigfillset(&all);
	sources[SIGNAL_FD] = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
	if (sources[SIGNAL_FD] < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	sources[TAKEN_FD] = pair[0];
	sources[TELL_FD] = pair[1];
	for (i = 0; i < KEPT_COUNT; i++) {
		if (sources[i] < 0)
			continue;
		sources[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, KEPT_COUNT + 1);
		if (sources[i] < 0)
			return -errno;
	}
	ctx->error_fd = fcntl(ctx->error_fd, F_DUPFD_CLOEXEC, KEPT_COUNT + 1);
	if (ctx->error_fd < 0 || dup2(ctx->error_fd, KEPT_COUNT) < 0)
		return -errno;
	ctx->error_fd = KEPT_COUNT;
	for (i = 0; i < KEPT_COUNT; i++)
		if (sources[i] < 0)
			close(i);
		else if (dup2(sources[i], i) < 0)
			return -errno;
	err = sys_close_range(KEPT_COUNT + 1, ~0u);
	ctx->control_fd = CONTROL_FD;
	ctx->status_fd = STATUS_FD;
	ctx->requests_fd = REQUESTS_FD;
	ctx->taken_fd = TELL_FD;
	ctx->ruleset_fd = ctx->ruleset_fd < 0 ? -1 : RULESET_FD;
	return err;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct command *entry_find(struct server *server, pid_t pid)
{
	size_t i;

	for (i = 0; i < server->used; i++)
		if (server->commands[i].pid == pid)
			return &server->commands[i];
	return NULL;
}

static struct command *entry_new(struct server *server)
{
	struct command *entry = entry_find(server, 0);

	if (!entry && server->used < SBX_COMMANDS_MAX)
		entry = &server->commands[server->used++];
	return entry;
}

/*
 * Fork the process that waits for the next request.
 * Return: 0, also where it is there or all entries are taken; else -errno.
 */
static int waiting_fork(struct server *server)
{
	struct command *entry;
	pid_t pid;

	if (server->waiting)
		return 0;
	entry = entry_new(server);
	if (!entry)
		return 0;
	pid = sys_fork();
	if (pid == 0)
		sbx_command_main(server->ctx);
	if (pid < 0)
		return pid;
	*entry = (struct command){ .pid = pid, .reply_fd = -1 };
	server->waiting = pid;
	return 0;
}

/* Take one message of a process that has taken a request. */
static int taken_read(struct server *server)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct sbx_taken taken;
	struct iovec part = { &taken, sizeof(taken) };
	struct msghdr head = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t size = recvmsg(TAKEN_FD, &head,
			       MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct command *entry;
	int reply_fd;

	if (size != (ssize_t)sizeof(taken))
		return 0;
	if (head.msg_controllen < CMSG_LEN(sizeof(int)))
		return 1;	/* no number was left for it: nobody is told */
	memcpy(&reply_fd, CMSG_DATA(&control.head), sizeof(int));
	if (server->waiting == taken.pid)
		server->waiting = 0;
	server->deaths = 0;
	entry = entry_find(server, taken.pid);
	if (!entry) {
		close(reply_fd);
		return 1;
	}
	entry->reply_fd = reply_fd;
	entry->grace_ms = taken.grace_ms;
	if (taken.timeout_ms)
		entry->deadline_ms = now_ms() + taken.timeout_ms;
	return 1;
}

/* Before setsid(2) there is no group of that number yet. */
static void command_signal(const struct command *entry, int number)
{
	if (kill(-entry->pid, number) < 0)
		kill(entry->pid, number);
}

/* A signal for a command, or the end of who asked for it. */
static void order_read(struct command *entry)
{
	int32_t number;
	ssize_t size = recv(entry->reply_fd, &number, sizeof(number),
			    MSG_DONTWAIT);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size != (ssize_t)sizeof(number)) {
		command_signal(entry, SIGKILL);
		close(entry->reply_fd);
		entry->reply_fd = -1;
		return;
	}
	if (number > 0 && number < NSIG)
		command_signal(entry, number);
}

static uint64_t microseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000u + (uint64_t)time->tv_usec;
}

static void command_ended(const struct server *server, struct command *entry,
			  int wait_status, const struct rusage *usage)
{
	const struct sbx_status status = {
		.wait_status = wait_status,
		.command_pid = entry->pid,
		.user_us = microseconds(&usage->ru_utime),
		.system_us = microseconds(&usage->ru_stime),
		.max_rss_kib = (uint64_t)usage->ru_maxrss,
		.switches = (uint64_t)usage->ru_nvcsw +
			    (uint64_t)usage->ru_nivcsw,
		.degraded = server->ctx->degraded,
		.reserved = entry->cause,
	};

	entry->pid = 0;
	if (entry->reply_fd < 0)
		return;
	/* who asked and does not take the answer is gone, or will be told by
	 * the end of the socket */
	(void)!send(entry->reply_fd, &status, sizeof(status),
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	close(entry->reply_fd);
	entry->reply_fd = -1;
}

/*
 * The process that waits has ended or stopped without a request: somebody
 * inside signalled it, or a limit did.
 */
static void waiting_lost(struct server *server)
{
	server->waiting = 0;
	server->deaths++;
}

static void reap(struct server *server)
{
	struct signalfd_siginfo info;

	/* signals of the supervisor have no one command to go to */
	while (read(SIGNAL_FD, &info, sizeof(info)) == (ssize_t)sizeof(info))
		;
	for (;;) {
		struct rusage usage;
		struct command *entry;
		int status;
		pid_t pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return;
		/* what it has to say, it said before it ended */
		while (pid == server->waiting && taken_read(server))
			;
		if (WIFSTOPPED(status)) {
			/* it would take a request, and sleep on it */
			if (pid == server->waiting)
				kill(pid, SIGKILL);
			continue;
		}
		if (pid == server->waiting)
			waiting_lost(server);
		entry = entry_find(server, pid);
		if (entry)
			command_ended(server, entry, status, &usage);
	}
}

static int is_full(struct server *server)
{
	return server->used == SBX_COMMANDS_MAX && !entry_find(server, 0);
}

/* A request is there, and nobody to take it. */
static void request_wanted(struct server *server)
{
	/* a process that dies of waiting is not made for ever */
	int err = server->deaths < DEATHS_MAX ? waiting_fork(server) : -ECHILD;

	if (!err)
		return;
	server->deaths = 0;
	if (sbx_request_refuse(REQUESTS_FD, 0, err) < 0)
		_exit(0);
}

/*
 * End what has had its time.
 * Return: milliseconds until the next deadline, -1 where there is none.
 */
static int deadlines_keep(struct server *server)
{
	int64_t now = 0, next = -1;
	size_t i;

	for (i = 0; i < server->used; i++) {
		struct command *entry = &server->commands[i];

		if (!entry->pid || !entry->deadline_ms)
			continue;
		if (!now)
			now = now_ms();
		if (now >= entry->deadline_ms) {
			command_signal(entry, entry->cause ? SIGKILL : SIGTERM);
			entry->deadline_ms =
				entry->cause ? 0 : now + entry->grace_ms + 1;
			entry->cause = SBX_CAUSE_TIMEOUT;
		}
		if (entry->deadline_ms &&
		    (next < 0 || entry->deadline_ms - now < next))
			next = entry->deadline_ms - now;
	}
	return next > INT_MAX ? INT_MAX : (int)next;
}

/* Fill @fds with what is waited for. */
static nfds_t interests(struct server *server, struct pollfd *fds)
{
	size_t i;

	fds[0] = (struct pollfd){ .fd = CONTROL_FD, .events = 0 };
	fds[1] = (struct pollfd){ .fd = SIGNAL_FD, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = REQUESTS_FD, .events = 0 };
	/* while somebody waits it is not for us to look at */
	if (!server->waiting && !is_full(server))
		fds[2].events = POLLIN;
	fds[3] = (struct pollfd){ .fd = TAKEN_FD, .events = POLLIN };
	for (i = 0; i < server->used; i++) {
		const struct command *entry = &server->commands[i];

		fds[FIRST_POLL + i] = (struct pollfd){
			.fd = entry->pid ? entry->reply_fd : -1,
			.events = POLLIN,
		};
	}
	return (nfds_t)(FIRST_POLL + server->used);
}

static void __attribute__((noreturn)) serve(struct server *server)
{
	struct pollfd fds[FIRST_POLL + SBX_COMMANDS_MAX];

	for (;;) {
		nfds_t count = interests(server, fds);
		int ready = poll(fds, count, deadlines_keep(server));
		nfds_t i;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready < 0 || fds[0].revents)
			_exit(1);
		if (fds[2].revents & (POLLHUP | POLLERR))
			_exit(0);
		/* orders before ends: a number that is not reaped yet is
		 * nobody else's */
		for (i = FIRST_POLL; i < count; i++)
			if (fds[i].revents)
				order_read(&server->commands[i - FIRST_POLL]);
		if (fds[3].revents)
			taken_read(server);
		if (fds[1].revents)
			reap(server);
		if (fds[2].revents & POLLIN)
			request_wanted(server);
		else if (!server->deaths)
			(void)waiting_fork(server);	/* in advance */
	}
}

/**
 * sbx_serve_main - wait for requests; the sandbox is ready when the error pipe
 * closes
 * Context: pid 1, not dumpable, every signal blocked.
 * Return: never; a failure is written to the error pipe.
 */
void sbx_serve_main(struct sbx_context *ctx)
{
	const struct sbx_plan_core *core = ctx->core;
	enum sbx_stage stage = SBX_STAGE_INIT;
	struct server server;
	int err;

	memset(&server, 0, sizeof(server));
	server.ctx = ctx;
	ctx->is_served = 1;
	prctl(PR_SET_NAME, "sandbox-init", 0, 0, 0);
	err = sbx_caps_keep_for_commands(ctx);
	if (!err && core->flags & SBX_PLAN_NO_NEW_PRIVS &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		err = -errno;
	if (!err && core->flags & SBX_PLAN_LANDLOCK) {
		stage = SBX_STAGE_LANDLOCK;
		ctx->ruleset_fd = sbx_landlock_ruleset(ctx);
		err = ctx->ruleset_fd < 0 ? ctx->ruleset_fd : 0;
	}
	if (!err) {
		stage = SBX_STAGE_INIT;
		err = descriptors_arrange(ctx);
	}
	if (!err)
		err = waiting_fork(&server);
	if (err)
		sbx_child_report(ctx, stage, err);
	close(ctx->error_fd);
	ctx->error_fd = -1;
	serve(&server);
}
