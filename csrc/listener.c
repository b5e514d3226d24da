// SPDX-License-Identifier: Apache-2.0
/*
 * listener.c - load a filter whose refused calls the supervisor answers, and
 * get the listener out to it.
 *
 * Runs in the command, behind the filter: what it still calls must pass it.
 * sendmsg(2) hands the listener over; a program that refuses it is loaded
 * beside a porter, a process that shares the command's descriptors, not its
 * filter, and hands over in its place. Either way the supervisor holds the
 * listener before the command executes anything, and nobody inside does
 * afterwards: it closes itself at exec. No process needs to be traceable.
 *
 * Should: under `prefer`, answer plainly where there can be no listener (the
 * tree may have another: EBUSY). Must not: leave calls without an answer.
 * sbx_listener_receive() runs in the supervisor.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "notify.h"
#include "sys.h"

#ifndef SECCOMP_RET_USER_NOTIF
#define SECCOMP_RET_USER_NOTIF 0x7fc00000U
#endif
#define WAIT_KILLABLE_RECV (1UL << 5)	/* Linux 5.19 */
#define CLONE_FILES_PARENT (0x400UL | 0x8000UL)	/* CLONE_FILES, CLONE_PARENT */
#define FILTER_MAX 4096
#define PORTER_MS 5000
#define TAG_LISTENER 'L'

/* Whether the program lets one of our own calls pass. */
static int passes(const struct sock_filter *code, size_t count, int nr,
		  uint64_t first, uint64_t third)
{
	struct seccomp_data data = {
		.nr = nr,
		.arch = SBX_AUDIT_ARCH,
		.args = { first, 0, third },
	};
	uint32_t value;

	return sbx_bpf_run(code, count, &data, &value) == 0 &&
	       (value & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ALLOW;
}

/* The same answers without a listener: the errno stands beside the action. */
static void plain_program(const struct sock_filter *code, size_t count,
			  struct sock_filter *out)
{
	size_t i;

	for (i = 0; i < count; i++) {
		out[i] = code[i];
		if (out[i].code == (BPF_RET | BPF_K) &&
		    (out[i].k & SECCOMP_RET_ACTION_FULL) ==
			    SECCOMP_RET_USER_NOTIF)
			out[i].k = SECCOMP_RET_ERRNO |
				   (out[i].k & SECCOMP_RET_DATA);
	}
}

static int program_load(const struct sock_filter *code, size_t count,
			unsigned long flags)
{
	struct sock_fprog program = {
		.len = (unsigned short)count,
		.filter = (struct sock_filter *)code,
	};

	return (int)sys_result(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				       flags, &program));
}

static int listening_load(const struct sock_filter *code, size_t count)
{
	int fd = program_load(code, count, SECCOMP_FILTER_FLAG_NEW_LISTENER |
						   WAIT_KILLABLE_RECV);

	return fd == -EINVAL ? program_load(code, count,
					    SECCOMP_FILTER_FLAG_NEW_LISTENER)
			     : fd;
}

/* In the porter: wait for the number of the listener, send it, say so, end. */
static void __attribute__((noreturn)) porter_main(int handover, int link)
{
	struct pollfd waiting = { .fd = link, .events = POLLIN };
	int fd;

	/* the other end is in the shared table: no end of file would come */
	if (poll(&waiting, 1, PORTER_MS) != 1 ||
	    read(link, &fd, sizeof(fd)) != (ssize_t)sizeof(fd) || fd < 0 ||
	    sbx_fd_pass(handover, TAG_LISTENER, 0, fd) < 0 ||
	    write(link, "", 1) != 1)
		_exit(1);
	_exit(0);
}

/*
 * A child of pid 1, which reaps it.
 * Return: the command's end of a link to it, or -errno.
 */
static int porter_start(const struct sbx_context *ctx)
{
	int ends[2];
	long pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid = sys_result(syscall(SYS_clone, CLONE_FILES_PARENT | SIGCHLD, 0L,
				 0L, 0L, 0L));
	if (pid == 0)
		porter_main(ctx->handover_fd, ends[1]);
	/* the porter's end stays: the table is one until exec */
	if (pid < 0) {
		close(ends[0]);
		close(ends[1]);
		return (int)pid;
	}
	return ends[0];
}

/* With `listener` negative the porter just ends. */
static int porter_send(int link, int listener)
{
	char byte;

	if (write(link, &listener, sizeof(listener)) !=
	    (ssize_t)sizeof(listener))
		return -EPIPE;
	if (listener >= 0 && read(link, &byte, 1) != 1)
		return -EPIPE;
	return 0;
}

/* No listener: the reason goes to the supervisor, the plain program in. */
static int without(struct sbx_context *ctx, const struct sock_filter *code,
		   const struct sbx_filter *filter, int err)
{
	struct sock_filter plain[FILTER_MAX];

	if (filter->flags & SBX_FILTER_NOTIFY_REQUIRED)
		return err;
	err = sbx_fd_pass(ctx->handover_fd, TAG_LISTENER, (unsigned char)-err, -1);
	if (err)
		return err;
	plain_program(code, filter->count, plain);
	return program_load(plain, filter->count, 0);
}

/**
 * sbx_listener_load - install a program that notifies
 * Context: command; nothing but exec follows.
 * Return: 0 or -errno.
 */
int sbx_listener_load(struct sbx_context *ctx, const struct sock_filter *code,
		      const struct sbx_filter *filter)
{
	int is_direct = passes(code, filter->count, SYS_sendmsg,
			       (uint64_t)ctx->handover_fd, MSG_NOSIGNAL);
	int link = -1;
	int fd;

	if (!is_direct) {
		if (!passes(code, filter->count, SYS_read, 0, 0) ||
		    !passes(code, filter->count, SYS_write, 0, 0))
			return without(ctx, code, filter, -EACCES);
		link = porter_start(ctx);
		if (link < 0)
			return without(ctx, code, filter, link);
	}
	fd = listening_load(code, filter->count);
	if (fd < 0) {
		if (link >= 0)
			porter_send(link, -1);
		return without(ctx, code, filter, fd);
	}
	if (link >= 0)
		return porter_send(link, fd);
	return sbx_fd_pass(ctx->handover_fd, TAG_LISTENER, 0, fd);
}

int sbx_listener_receive(int socket)
{
	unsigned char reason;
	int fd = sbx_fd_take(socket, TAG_LISTENER, &reason);

	return fd == -ENODATA ? -(int)reason : fd;
}
