// SPDX-License-Identifier: Apache-2.0
/*
 * pass.c - one descriptor over the hand-over socket, with a tag.
 *
 * Sending runs in the child, receiving in the supervisor. A message is two
 * bytes, the tag and a value, and at most one descriptor; the socket keeps
 * messages apart.
 */
#include <string.h>
#include <sys/socket.h>

#include "core.h"
#include "sys.h"

/* Room for one descriptor in a control message, aligned as the kernel asks. */
union fd_message {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

/**
 * sbx_fd_pass - send @fd, or with -1 only tag and value
 * Context: child; by sendmsg(2) alone, which a filter may already judge.
 * Return: 0 or -errno.
 */
int sbx_fd_pass(int socket, char tag, unsigned char value, int fd)
{
	union fd_message message;
	unsigned char bytes[2] = { (unsigned char)tag, value };
	struct iovec data = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *control;

		memset(&message, 0, sizeof(message));
		header.msg_control = message.bytes;
		header.msg_controllen = sizeof(message.bytes);
		control = CMSG_FIRSTHDR(&header);
		control->cmsg_level = SOL_SOCKET;
		control->cmsg_type = SCM_RIGHTS;
		control->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(control), &fd, sizeof(int));
	}
	while (syscall(SYS_sendmsg, (long)socket, &header, (long)MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/**
 * sbx_fd_take - receive what was sent under @tag
 * @value: of the message
 * Context: supervisor; waits for the message or the end of the sender.
 * Return: the descriptor; -ENODATA for a message without one; -EPIPE for
 * none, or another one; else -errno.
 */
int sbx_fd_take(int socket, char tag, unsigned char *value)
{
	union fd_message message;
	unsigned char bytes[2];
	struct iovec data = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr header = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = message.bytes,
		.msg_controllen = sizeof(message.bytes),
	};
	struct cmsghdr *control;
	ssize_t got;
	int fd = -1;

	do {
		got = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	control = CMSG_FIRSTHDR(&header);
	if (control && control->cmsg_level == SOL_SOCKET &&
	    control->cmsg_type == SCM_RIGHTS &&
	    control->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(control), sizeof(int));
	if (got != (ssize_t)sizeof(bytes) || bytes[0] != (unsigned char)tag) {
		if (fd >= 0)
			close(fd);
		return -EPIPE;
	}
	*value = bytes[1];
	return fd < 0 ? -ENODATA : fd;
}
