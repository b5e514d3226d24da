// SPDX-License-Identifier: Apache-2.0
/*
 * log.c - the log of runs: append a record, and keep the file small.
 *
 * Runs in whoever ends a run, with the caller's own rights; several may at
 * once. A record is one writev(2) at the end of the file, which the kernel
 * keeps whole. At its limit the file becomes the old one and a new one begins.
 *
 * Must not: follow a link; write a file that is another user's or that others
 * may read.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core.h"

#define LOG_FLAGS \
	(O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

static int log_open(const char *path, struct stat *st)
{
	int fd = open(path, LOG_FLAGS, 0600);

	if (fd < 0)
		return -errno;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode) &&
	    st->st_uid == geteuid() && !(st->st_mode & 077) &&
	    st->st_nlink == 1)
		return fd;
	close(fd);
	return -EPERM;
}

/* Under the lock of the file itself: only one may take it away, once. */
static int rotate(int fd, const char *path, const struct stat *open_as)
{
	char old[PATH_MAX];
	struct stat now;
	int length = snprintf(old, sizeof(old), "%s.1", path);

	if (length < 0 || (size_t)length >= sizeof(old))
		return -ENAMETOOLONG;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	if (lstat(path, &now) < 0)
		return -errno;
	if (now.st_ino != open_as->st_ino || now.st_dev != open_as->st_dev)
		return 0;	/* somebody was faster */
	return rename(path, old) < 0 ? -errno : 0;
}

/* The file to append to, rotated where it is full; or -errno. */
static int log_ready(const char *path)
{
	struct stat st;
	int fd = log_open(path, &st);
	int fresh;

	if (fd < 0 || st.st_size < SBX_LOG_FILE_MAX)
		return fd;
	/* where it cannot be taken away now, the next run tries */
	fresh = rotate(fd, path, &st);
	if (!fresh)
		fresh = log_open(path, &st);
	if (fresh < 0 && st.st_size < 2 * (off_t)SBX_LOG_FILE_MAX)
		return fd;
	close(fd);
	return fresh;
}

int sbx_log_append(const char *path, struct sbx_log_record *head,
		   const char *text, const struct sbx_denial *denials)
{
	static const char zeros[8];
	size_t padding = (8 - head->text_size % 8) % 8;
	struct iovec parts[] = {
		{ head, sizeof(*head) },
		{ (void *)text, head->text_size },
		{ (void *)zeros, padding },
		{ (void *)denials, head->denial_count * sizeof(*denials) },
	};
	size_t size = sizeof(*head) + head->text_size + padding +
		      head->denial_count * sizeof(*denials);
	ssize_t done;
	int fd, err = 0;

	if (head->text_size > SBX_LOG_TEXT_MAX ||
	    head->denial_count > SBX_LOG_DENIALS_MAX)
		return -EINVAL;
	head->magic = SBX_LOG_MAGIC;
	head->size = (uint32_t)size;
	fd = log_ready(path);
	if (fd < 0)
		return fd;
	done = writev(fd, parts, sizeof(parts) / sizeof(parts[0]));
	if (done < 0)
		err = -errno;
	else if ((size_t)done != size)
		err = -ENOSPC;	/* half a record: the reader passes over it */
	close(fd);
	return err;
}
