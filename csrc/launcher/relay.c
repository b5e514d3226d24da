// SPDX-License-Identifier: Apache-2.0
/*
 * relay.c - output limits: stdout and stderr pass through here, counted.
 *
 * Runs in the supervisor, only where a plan limits output and the stream is
 * no terminal: a terminal passed through a pipe would no longer be one. Two
 * streams that are the same file share a pipe, so that their lines keep their
 * order. A pipe is read only when what was read before is written, so a slow
 * reader slows the command down, as it would without us.
 *
 * Must not: wait in write(2), since the same loop keeps the deadlines; change
 * O_NONBLOCK of a descriptor that other processes share.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "supervise.h"
#include "sys.h"

#define CHUNK 65536

enum sbx_relay_way {
	WAY_PIECES = 0,		/* PIPE_BUF bytes at a time: poll(2) promises room */
	WAY_ANY,		/* never waits for a reader, or not for us alone */
	WAY_SEND,		/* a socket: MSG_DONTWAIT */
};

/*
 * How to write to a destination without waiting, and a descriptor for it. A
 * pipe is opened anew, so that O_NONBLOCK is ours alone; where that is not to
 * be had (no /proc, another user's pipe), poll(2) has to do. Another writer
 * may then take the room that it saw, and we wait for the reader with it.
 */
static int destination_open(struct sbx_relay_pipe *pipe, int fd,
			    const struct stat *found)
{
	char path[40] = "/proc/self/fd/";

	pipe->way = WAY_PIECES;
	if (S_ISREG(found->st_mode) || S_ISBLK(found->st_mode))
		pipe->way = WAY_ANY;
	if (S_ISSOCK(found->st_mode))
		pipe->way = WAY_SEND;
	if (S_ISFIFO(found->st_mode)) {
		sbx_format_u64((uint64_t)fd, 10, path + strlen(path));
		pipe->destination = open(path, O_WRONLY | O_NONBLOCK |
					       O_CLOEXEC);
		if (pipe->destination >= 0) {
			pipe->way = WAY_ANY;
			return 0;
		}
	}
	pipe->destination = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return pipe->destination < 0 ? -errno : 0;
}

static int pipe_open(struct sbx_relay_pipe *pipe, int fd,
		     const struct stat *found)
{
	int ends[2];

	pipe->reader = pipe->writer = pipe->destination = -1;
	pipe->dev = found->st_dev;
	pipe->ino = found->st_ino;
	pipe->at = pipe->size = 0;
	pipe->buffer = malloc(CHUNK);
	if (!pipe->buffer)
		return -ENOMEM;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pipe->reader = ends[0];
	pipe->writer = ends[1];
	/* each end has a file description of its own: the command's waits */
	if (fcntl(pipe->reader, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return destination_open(pipe, fd, found);
}

static struct sbx_relay_pipe *pipe_find(struct sbx_relay *relay,
					const struct stat *found)
{
	int i;

	for (i = 0; i < relay->count; i++)
		if (relay->pipes[i].dev == found->st_dev &&
		    relay->pipes[i].ino == found->st_ino)
			return &relay->pipes[i];
	return NULL;
}

static int redirect(struct sbx_relay *relay, struct sbx_fd_map *map)
{
	struct sbx_relay_pipe *pipe;
	struct stat found;
	int err;

	if (fstat(map->source, &found) < 0)
		return -errno;
	pipe = pipe_find(relay, &found);
	if (!pipe) {
		pipe = &relay->pipes[relay->count++];
		err = pipe_open(pipe, map->source, &found);
		if (err)
			return err;
	}
	map->source = pipe->writer;
	return 0;
}

/**
 * sbx_relay_open - lead the command's output through us
 * @fds: of the invocation; the sources of counted ones become pipes
 * Context: supervisor, before the clone.
 * Return: 0 (with no pipes where there is nothing to count), or -errno; then
 *	sbx_relay_close() is still to be called.
 */
int sbx_relay_open(struct sbx_relay *relay, uint64_t limit,
		   struct sbx_fd_map *fds, size_t count)
{
	size_t i;

	memset(relay, 0, sizeof(*relay));
	relay->limit = limit;
	for (i = 0; i < count; i++) {
		int err;

		if (fds[i].target != 1 && fds[i].target != 2)
			continue;
		if (fds[i].source < 0 || isatty(fds[i].source))
			continue;
		err = redirect(relay, &fds[i]);
		if (err)
			return err;
	}
	return 0;
}

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/**
 * sbx_relay_release_writers - now only the command holds the pipes' ends
 */
void sbx_relay_release_writers(struct sbx_relay *relay)
{
	int i;

	for (i = 0; i < relay->count; i++)
		fd_close(&relay->pipes[i].writer);
}

/* Nothing more passes. While the reader is open the command sees no broken
 * pipe, so both ends go. */
static void pipe_end(struct sbx_relay_pipe *pipe)
{
	fd_close(&pipe->reader);
	fd_close(&pipe->destination);
	pipe->at = pipe->size = 0;
}

/**
 * sbx_relay_polls - what to wait for
 * Return: how many of @polls were filled in; 0 once all has passed.
 */
int sbx_relay_polls(const struct sbx_relay *relay,
		    struct pollfd polls[SBX_RELAY_POLLS])
{
	int count = 0;
	int i;

	for (i = 0; i < relay->count; i++) {
		const struct sbx_relay_pipe *pipe = &relay->pipes[i];
		int is_full = pipe->at < pipe->size;

		if (pipe->destination < 0)
			continue;
		if (!is_full && pipe->reader >= 0)
			polls[count++] = (struct pollfd){
				.fd = pipe->reader, .events = POLLIN };
		/* without events: it still tells that its reader is gone */
		polls[count++] = (struct pollfd){
			.fd = pipe->destination,
			.events = is_full ? POLLOUT : 0 };
	}
	return count;
}

static size_t count_in(struct sbx_relay *relay, size_t size)
{
	uint64_t room = relay->limit - relay->total;
	size_t allowed = size < room ? size : (size_t)room;

	relay->total += allowed;
	if (allowed < size)
		relay->is_truncated = 1;
	return allowed;
}

/* Return: 1 where something was read, 0 where there is nothing now. */
static int pipe_read(struct sbx_relay *relay, struct sbx_relay_pipe *pipe)
{
	ssize_t size = read(pipe->reader, pipe->buffer, CHUNK);

	if (size < 0)
		return errno == EINTR;
	if (size == 0) {
		pipe_end(pipe);
		return 0;
	}
	pipe->at = 0;
	pipe->size = count_in(relay, (size_t)size);
	return 1;
}

static void pipe_write(struct sbx_relay_pipe *pipe)
{
	size_t size = pipe->size - pipe->at;
	const char *from = pipe->buffer + pipe->at;
	ssize_t done;

	if (pipe->way == WAY_PIECES && size > PIPE_BUF)
		size = PIPE_BUF;
	if (pipe->way == WAY_SEND)
		done = send(pipe->destination, from, size,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		done = write(pipe->destination, from, size);
	if (done >= 0)
		pipe->at += (size_t)done;
	else if (errno != EAGAIN && errno != EINTR)
		pipe_end(pipe);	/* nobody reads any more, or the disk is full */
}

/**
 * sbx_relay_handle - pass on what can be
 * @ready: one of sbx_relay_polls(), as poll(2) left it
 */
void sbx_relay_handle(struct sbx_relay *relay, const struct pollfd *ready)
{
	int i;

	if (!ready->revents)
		return;
	for (i = 0; i < relay->count; i++) {
		struct sbx_relay_pipe *pipe = &relay->pipes[i];

		if (ready->fd == pipe->reader) {
			if (pipe_read(relay, pipe) && pipe->size)
				pipe_write(pipe);
		} else if (ready->fd == pipe->destination) {
			if (pipe->at < pipe->size)
				pipe_write(pipe);
			else if (ready->revents & (POLLERR | POLLHUP | POLLNVAL))
				pipe_end(pipe);
		}
	}
}

/**
 * sbx_relay_finish - go on as far as it goes without waiting
 *
 * Every process of the sandbox is gone: an empty pipe stays empty, also where
 * somebody outside was handed its other end.
 */
void sbx_relay_finish(struct sbx_relay *relay)
{
	int i;

	for (i = 0; i < relay->count; i++) {
		struct sbx_relay_pipe *pipe = &relay->pipes[i];

		while (pipe->reader >= 0 && pipe->at == pipe->size) {
			if (!pipe_read(relay, pipe)) {
				pipe_end(pipe);
				break;
			}
			if (pipe->size)
				pipe_write(pipe);
		}
	}
}

void sbx_relay_close(struct sbx_relay *relay)
{
	int i;

	sbx_relay_release_writers(relay);
	for (i = 0; i < relay->count; i++) {
		pipe_end(&relay->pipes[i]);
		free(relay->pipes[i].buffer);
	}
	relay->count = 0;
}
