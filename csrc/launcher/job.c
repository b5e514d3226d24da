// SPDX-License-Identifier: Apache-2.0
/*
 * job.c - the program `sandbox-supervisor`: one job for a Python program.
 *
 * Started by posix_spawn(3), never by fork(2), with the job on descriptors
 * (abi_job.h). Trusts its caller, whose own processes these are, and believes
 * no number of the job before it was checked.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "supervise.h"
#include "sys.h"

/**
 * sbx_channel_send - one message up
 * Context: supervisor. Waits for room: whoever does not read the end of a job
 *	has closed the channel or will.
 * Return: 0 or -errno; -EPIPE where the caller is gone.
 */
int sbx_channel_send(int channel, enum sbx_message_kind kind, int32_t value,
		     const void *record, size_t size)
{
	struct sbx_message message = { .kind = kind, .value = value };
	struct iovec parts[2] = {
		{ .iov_base = &message, .iov_len = sizeof(message) },
		{ .iov_base = (void *)(uintptr_t)record, .iov_len = size },
	};
	struct msghdr head = { .msg_iov = parts, .msg_iovlen = size ? 2 : 1 };

	while (sendmsg(channel, &head, MSG_NOSIGNAL) < 0) {
		struct pollfd room = { .fd = channel, .events = POLLOUT };

		if (errno == EAGAIN)
			poll(&room, 1, -1);
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int is_inside(uint32_t offset, uint32_t size, size_t end)
{
	return offset % 8 == 0 && offset <= end && size <= end - offset;
}

static int header_check(const struct sbx_job_header *header, size_t size)
{
	if (size < sizeof(*header) || header->magic != SBX_JOB_MAGIC)
		return -EINVAL;
	if (header->version != SBX_JOB_VERSION)
		return -EPROTO;
	if (!is_inside(header->plan_offset, header->plan_size, size) ||
	    !is_inside(header->invocation_offset, header->invocation_size,
		       size) ||
	    !is_inside(header->placeholders_offset, header->placeholders_size,
		       size) || header->flags)
		return -EINVAL;
	return 0;
}

static int placeholders_check(struct sbx_view *view, const void *blob,
			      size_t size, struct sbx_error *error)
{
	const struct sbx_placeholder *records;
	size_t count, i;
	int err;

	err = sbx_view_open(view, blob, size, SBX_ENTRY_MAGIC, SBX_JOB_MAX,
			    error);
	if (err)
		return err;
	records = sbx_records(view, SBX_SECTION_ENTRY_PLACEHOLDERS, &count);
	for (i = 0; i < count; i++)
		if (sbx_check_string(view, records[i].inside, PATH_MAX) < 0 ||
		    sbx_check_string(view, records[i].host, PATH_MAX) < 0)
			return sbx_check_fail(error,
					      SBX_SECTION_ENTRY_PLACEHOLDERS,
					      EINVAL);
	return 0;
}

/* Map the file and let go of it. */
static const void *job_map(size_t *size)
{
	const void *data = NULL;
	struct stat found;

	if (fstat(SBX_JOB_DATA_FD, &found) == 0 && found.st_size > 0 &&
	    found.st_size <= SBX_JOB_MAX) {
		*size = (size_t)found.st_size;
		data = mmap(NULL, *size, PROT_READ, MAP_PRIVATE,
			    SBX_JOB_DATA_FD, 0);
		if (data == MAP_FAILED)
			data = NULL;
	}
	close(SBX_JOB_DATA_FD);
	return data;
}

/* Close what the job does not name: a caller's descriptors may be anything,
 * the only writer of a pipe that somebody reads to its end, say. */
static int descriptors_reduce(const struct sbx_job *job)
{
	struct sbx_error error;
	struct sbx_view view;
	const struct sbx_fd_map *fds;
	unsigned int at = SBX_JOB_CHANNEL_FD + 1;
	size_t count, i;

	if (sbx_invocation_check(job->invocation, job->invocation_size,
				 &error) < 0 ||
	    sbx_view_open(&view, job->invocation, job->invocation_size,
			  SBX_INVOCATION_MAGIC, SBX_INVOCATION_MAX,
			  &error) < 0)
		return 0;	/* refused in a moment, with more words */
	fds = sbx_records(&view, SBX_SECTION_FDS, &count);
	for (i = 0; i < count; i++)
		if (fds[i].source == SBX_JOB_CHANNEL_FD ||
		    fds[i].source == SBX_JOB_DATA_FD)
			return -EBADF;
	for (;;) {
		unsigned int next = ~0u;

		for (i = 0; i < count; i++) {
			unsigned int fd = (unsigned int)fds[i].source;

			if (fds[i].source >= 0 && fd >= at && fd < next)
				next = fd;
		}
		if (next > at)
			sys_close_range(at, next == ~0u ? next : next - 1);
		if (next == ~0u)
			return 0;
		at = next + 1;
	}
}

static int job_run(const void *data, size_t size, struct sbx_ending *ending,
		   struct sbx_error *error)
{
	const struct sbx_job_header *header = data;
	const unsigned char *base = data;
	struct sbx_view placeholders;
	struct sbx_job job;
	int err;

	memset(error, 0, sizeof(*error));
	error->stage = SBX_STAGE_CHECK;
	error->op = -1;
	err = data ? header_check(header, size) : -EINVAL;
	if (err)
		return err;
	job = (struct sbx_job){
		.plan = base + header->plan_offset,
		.plan_size = header->plan_size,
		.invocation = base + header->invocation_offset,
		.invocation_size = header->invocation_size,
		.flags = SBX_JOB_DETACHED,
		.channel = SBX_JOB_CHANNEL_FD,
	};
	if (header->placeholders_size) {
		err = placeholders_check(&placeholders,
					 base + header->placeholders_offset,
					 header->placeholders_size, error);
		if (err)
			return err;
		job.placeholders = &placeholders;
	}
	err = descriptors_reduce(&job);
	return err ? err : sbx_supervise(&job, ending, error);
}

/**
 * sbx_job_main - run the job on the descriptors
 * Return: the exit code; what the caller is to know went up the channel.
 */
int sbx_job_main(void)
{
	struct sbx_ending ending;
	struct sbx_error error;
	size_t size = 0;
	const void *data;
	int err;

	if (fcntl(SBX_JOB_CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0)
		return 125;	/* nobody to tell */
	data = job_map(&size);
	/* fails for a leader of a process group, which has its own already */
	(void)setsid();
	err = job_run(data, size, &ending, &error);
	if (!err) {
		sbx_channel_send(SBX_JOB_CHANNEL_FD, SBX_MESSAGE_ENDED, 0,
				 &ending, sizeof(ending));
		return 0;
	}
	if (!error.err)
		error.err = -err;
	sbx_channel_send(SBX_JOB_CHANNEL_FD, SBX_MESSAGE_FAILED, err, &error,
			 sizeof(error));
	return 0;
}
