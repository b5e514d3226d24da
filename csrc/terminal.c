// SPDX-License-Identifier: Apache-2.0
/*
 * terminal.c - the command's own terminal, in place of the caller's.
 *
 * pid 1 opens a pseudo-terminal in the sandbox's own devpts, leads its
 * session, and hands the master to the supervisor, which relays. The command
 * becomes a process group of that session. That pid 1 and not the command
 * leads it has two reasons:
 * - the group then has a parent in the session, so the kernel lets SIGTSTP
 *   and SIGTTIN stop it, as under a shell; pid 1 reports each stop;
 * - when the leader of a session ends, the kernel hangs the terminal up and
 *   drops the output that is still under way. pid 1 stays until everything
 *   was read; the command may end when it likes.
 *
 * sbx_stage_terminal() runs in pid 1 before the fork, in the new root;
 * sbx_terminal_join() in the command; the rest in pid 1 after the fork, where
 * the terminal is descriptor SBX_TERMINAL_FD;
 * sbx_terminal_receive() runs in the supervisor.
 *
 * Must not: leave the caller's terminal or the master with anyone inside.
 */
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <termios.h>

#include "core.h"
#include "sys.h"

#define TAG_TERMINAL 'T'

/* Linux 4.13; older headers lack it */
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* The multiplexer: below a mount of our own, or without one, the host's. */
static int multiplexer_open(const struct sbx_context *ctx)
{
	int has_view = (ctx->core->namespaces & SBX_CLONE_NEWNS) != 0;
	struct statfs found;
	int fd = open(has_view ? "/dev/pts/ptmx" : "/dev/ptmx",
		      O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* on a root that is an image, be sure that it is no file of its */
	if (has_view &&
	    (fstatfs(fd, &found) < 0 || found.f_type != DEVPTS_SUPER_MAGIC)) {
		close(fd);
		return -ENODEV;
	}
	return fd;
}

/* Unlock, and open the other end by descriptor: no name is looked up. */
static int slave_open(int master)
{
	int unlocked = 0;
	int fd;

	if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return -errno;
	fd = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * The size and the modes of the caller's terminal, so that the command finds
 * them from its first instruction on. Where it has gone meanwhile, the
 * kernel's defaults serve. They do in the background, too, where the modes are
 * those of whoever is in the foreground; but then the caller's terminal is not
 * raw, and it is the one that ends lines.
 */
static int modes_copy(int from, int to, int is_foreground)
{
	struct winsize size;
	struct termios modes;

	if (ioctl(from, TIOCGWINSZ, &size) == 0 &&
	    ioctl(to, TIOCSWINSZ, &size) < 0)
		return -errno;
	if (tcgetattr(is_foreground ? from : to, &modes) < 0)
		return 0;
	if (!is_foreground)
		modes.c_oflag &= ~(tcflag_t)OPOST;
	return tcsetattr(to, TCSANOW, &modes) < 0 ? -errno : 0;
}

static int master_hand_over(struct sbx_context *ctx, int master)
{
	int slave = slave_open(master);
	int err;

	if (slave < 0)
		return slave;
	/* out of the way of 0-2, which the command's map and pid 1 set */
	ctx->terminal_fd = fcntl(slave, F_DUPFD_CLOEXEC, SBX_TERMINAL_FD);
	err = ctx->terminal_fd < 0 ? -errno : 0;
	close(slave);
	if (err)
		return err;
	err = modes_copy(ctx->run->terminal, ctx->terminal_fd,
			 (ctx->run->flags & SBX_INVOCATION_FOREGROUND) != 0);
	if (err)
		return err;
	if (setsid() < 0 || ioctl(ctx->terminal_fd, TIOCSCTTY, 0) < 0)
		return -errno;
	return sbx_fd_pass(ctx->handover_fd, TAG_TERMINAL, 0, master);
}

/**
 * sbx_stage_terminal - a session with a terminal of its own, led by pid 1
 * Context: pid 1, before the fork, in the new root.
 */
int sbx_stage_terminal(struct sbx_context *ctx)
{
	int master, err;

	if (!(ctx->run->flags & SBX_INVOCATION_TERMINAL))
		return 0;
	master = multiplexer_open(ctx);
	if (master < 0)
		return master;
	err = master_hand_over(ctx, master);
	close(master);
	return err;
}

/**
 * sbx_terminal_join - be a process group of the terminal's session
 *
 * In the background reading the terminal stops the group: the supervisor
 * asks for that where the caller's terminal is not its to take right away.
 * Context: command; every signal is blocked, or tcsetpgrp(3) would stop it.
 */
int sbx_terminal_join(const struct sbx_context *ctx)
{
	if (setpgid(0, 0) < 0)
		return -errno;
	if (ctx->run->flags & SBX_INVOCATION_FOREGROUND &&
	    tcsetpgrp(ctx->terminal_fd, getpid()) < 0)
		return -errno;
	return 0;
}

/**
 * sbx_terminal_grant - put the command's group in the foreground
 * Context: pid 1; every signal is blocked.
 */
void sbx_terminal_grant(const struct sbx_context *ctx)
{
	/* fails only where the command has just ended, which is seen next */
	if (tcsetpgrp(SBX_TERMINAL_FD, ctx->command_pid) < 0)
		return;
}

int sbx_terminal_receive(int socket)
{
	unsigned char unused;
	int fd = sbx_fd_take(socket, TAG_TERMINAL, &unused);

	return fd == -ENODATA ? -EPIPE : fd;
}
