// SPDX-License-Identifier: Apache-2.0
/*
 * request.c - the command of a sandbox that serves: take a request.
 *
 * Runs in the process that will be the command: it has an own session, its
 * limits, no capability that the plan does not leave, no_new_privs, Landlock
 * and, where the filter allows what comes, the filter. It is not dumpable. So
 * a request that is malformed reaches nobody but who sent it, and what stands
 * between a request and its program is the working directory, the descriptors
 * and execve(2).
 *
 * The checker is pure, as plan.c, and attacked by the same tests.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core.h"
#include "sys.h"

#define FDS_MAX (SBX_REQUEST_FDS_MAX + 3)

/**
 * struct message - what was received
 * @request: its head
 * @blob: SBX_REQUEST_INLINE_MAX bytes for the invocation
 * @fds: what came with it
 * @fd_count: how many
 */
struct message {
	struct sbx_request request;
	void *blob;
	int fds[FDS_MAX];
	size_t fd_count;
};

int sbx_request_check(const void *invocation, size_t size, uint32_t fd_count,
		      struct sbx_error *error)
{
	const struct sbx_invocation_core *core;
	const struct sbx_fd_map *fds;
	const uint32_t *slots;
	struct sbx_view view;
	size_t count, i;
	int err = sbx_invocation_check(invocation, size, error);

	if (!err)
		err = sbx_view_open(&view, invocation, size,
				    SBX_INVOCATION_MAGIC, SBX_INVOCATION_MAX,
				    error);
	if (err)
		return err;
	core = sbx_records(&view, SBX_SECTION_INVOCATION, &count);
	if (core->flags)
		return sbx_check_fail(error, SBX_SECTION_INVOCATION, EINVAL);
	/* the view is built: neither can have an effect any more */
	if (view.sections[SBX_SECTION_MOUNTS])
		return sbx_check_fail(error, SBX_SECTION_MOUNTS, EINVAL);
	slots = sbx_records(&view, SBX_SECTION_SLOTS, &count);
	for (i = 0; i < count; i++)
		if (slots[i])
			return sbx_check_fail(error, SBX_SECTION_SLOTS, EINVAL);
	fds = sbx_records(&view, SBX_SECTION_FDS, &count);
	for (i = 0; i < count; i++)
		if ((uint32_t)fds[i].source >= fd_count)
			return sbx_check_fail(error, SBX_SECTION_FDS, EINVAL);
	return 0;
}

static void descriptors_take(struct message *message, struct msghdr *head)
{
	struct cmsghdr *part;

	message->fd_count = 0;
	for (part = CMSG_FIRSTHDR(head); part; part = CMSG_NXTHDR(head, part)) {
		if (part->cmsg_level != SOL_SOCKET ||
		    part->cmsg_type != SCM_RIGHTS)
			continue;
		message->fd_count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(message->fds, CMSG_DATA(part),
		       message->fd_count * sizeof(int));
	}
}

/* How many descriptors stand before the command's. */
static size_t own_count(const struct sbx_request *request, int is_once)
{
	return 1 + !is_once + (request->flags & SBX_REQUEST_FILE ? 1 : 0);
}

/*
 * What holds of every request.
 * Return: 0; -EMFILE where descriptors did not fit below the process's limit;
 * -EPROTO.
 */
static int message_check(const struct message *message, size_t size, int flags,
			 int is_once)
{
	const struct sbx_request *request = &message->request;
	int is_file = (request->flags & SBX_REQUEST_FILE) != 0;

	if (flags & MSG_CTRUNC)
		return -EMFILE;
	if (size < sizeof(*request) || flags & MSG_TRUNC ||
	    request->magic != SBX_REQUEST_MAGIC ||
	    request->flags & ~(uint32_t)SBX_REQUEST_FILE ||
	    request->fd_count > SBX_REQUEST_FDS_MAX ||
	    message->fd_count !=
		    own_count(request, is_once) + request->fd_count ||
	    size - sizeof(*request) != (is_file ? 0 : request->size))
		return -EPROTO;
	return 0;
}

/*
 * Receive one message.
 * Return: 0; -EPIPE when there will be none; or what message_check() says,
 * and then message->fds are there as far as they came.
 */
static int message_receive(int socket, struct message *message, int is_once,
			   int flags)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec parts[2] = {
		{ &message->request, sizeof(message->request) },
		{ message->blob, message->blob ? SBX_REQUEST_INLINE_MAX : 0 },
	};
	struct msghdr head = {
		.msg_iov = parts,
		.msg_iovlen = 2,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t size;

	message->fd_count = 0;
	do {
		size = recvmsg(socket, &head, flags | MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	if (size <= 0)
		return size < 0 && errno == EAGAIN ? -EAGAIN : -EPIPE;
	descriptors_take(message, &head);
	return message_check(message, (size_t)size, head.msg_flags, is_once);
}

/* The blob of a request that came as a file, copied: nobody else writes it. */
static int file_read(int fd, size_t size, void **blob)
{
	size_t done = 0;
	char *copy;

	if (!size || size > SBX_INVOCATION_MAX)
		return -E2BIG;
	copy = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return -errno;
	while (done < size) {
		ssize_t got = pread(fd, copy + done, size - done, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EINVAL;
		done += (size_t)got;
	}
	*blob = copy;
	return 0;
}

/* Tell pid 1 whose this process is now. */
static int taken_tell(const struct sbx_context *ctx,
		      const struct message *message)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct sbx_taken taken = {
		.pid = (int32_t)syscall(SYS_getpid),
		.timeout_ms = message->request.timeout_ms,
		.grace_ms = message->request.grace_ms,
	};
	struct iovec part = { &taken, sizeof(taken) };
	struct msghdr head = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(sizeof(int)),
	};

	memset(&control, 0, sizeof(control));
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &message->fds[1], sizeof(int));
	return sendmsg(ctx->taken_fd, &head, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Indices of the request become our numbers; the blob is our own copy. */
static void fds_resolve(const struct sbx_view *view, const int *fds)
{
	size_t count, i;
	const struct sbx_fd_map *map =
		sbx_records(view, SBX_SECTION_FDS, &count);
	struct sbx_fd_map *own = (struct sbx_fd_map *)(uintptr_t)map;

	for (i = 0; i < count; i++)
		own[i].source = fds[own[i].source];
}

/* Make the checked blob the context's invocation. */
static int invocation_take(struct sbx_context *ctx, struct message *message,
			   size_t own)
{
	const struct sbx_request *request = &message->request;
	size_t argc, envc, count;
	int err = 0;

	if (request->flags & SBX_REQUEST_FILE)
		err = file_read(message->fds[own - 1], request->size,
				&message->blob);
	if (!err)
		err = sbx_request_check(message->blob, request->size,
					request->fd_count, &ctx->error);
	if (!err)
		err = sbx_view_open(&ctx->invocation, message->blob,
				    request->size, SBX_INVOCATION_MAGIC,
				    SBX_INVOCATION_MAX, &ctx->error);
	if (err)
		return err;
	ctx->run = sbx_records(&ctx->invocation, SBX_SECTION_INVOCATION,
			       &count);
	sbx_records(&ctx->invocation, SBX_SECTION_ARGV, &argc);
	sbx_records(&ctx->invocation, SBX_SECTION_ENVP, &envc);
	ctx->vectors = mmap(NULL, (argc + envc + 2) * sizeof(char *),
			    PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ctx->vectors == MAP_FAILED)
		return -errno;
	fds_resolve(&ctx->invocation, &message->fds[own]);
	return 0;
}

/**
 * sbx_request_take - be ready, wait for a request and take it
 *
 * The error pipe of the sandbox closes, which says that it is ready; from
 * then on ctx->error_fd is the request's.
 * Context: command; allocates nothing.
 * Return: 0, with ctx->invocation and ctx->run replaced; else -errno. Ends the
 * process where no request will come.
 */
int sbx_request_take(struct sbx_context *ctx)
{
	int is_once = (ctx->run->flags & SBX_INVOCATION_ONCE) != 0;
	struct message message;
	size_t own;
	int err;

	message.blob = mmap(NULL, SBX_REQUEST_INLINE_MAX,
			    PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (message.blob == MAP_FAILED)
		return -errno;
	if (ctx->error_fd >= 0)
		close(ctx->error_fd);
	ctx->error_fd = -1;
	err = message_receive(ctx->requests_fd, &message, is_once, 0);
	if (err == -EPIPE)
		_exit(0);
	if (message.fd_count)
		ctx->error_fd = message.fds[0];
	if (err)
		return err;
	if (!is_once)
		err = taken_tell(ctx, &message);
	own = own_count(&message.request, is_once);
	return err ? err : invocation_take(ctx, &message, own);
}

/**
 * sbx_request_refuse - answer the next request, if there is one, by @err
 * Context: pid 1, where no process can be made for it.
 * Return: 0, or -EPIPE when there will be no more.
 */
int sbx_request_refuse(int socket, int is_once, int err)
{
	struct message message = { .blob = NULL };
	const struct sbx_error error = {
		.stage = SBX_STAGE_INIT, .op = -1, .err = -err,
	};
	int got = message_receive(socket, &message, is_once, MSG_DONTWAIT);
	size_t i;

	if (got == -EPIPE)
		return got;
	if (message.fd_count)
		(void)!write(message.fds[0], &error, sizeof(error));
	for (i = 0; i < message.fd_count; i++)
		close(message.fds[i]);
	return 0;
}
