// SPDX-License-Identifier: Apache-2.0
/*
 * log.c - the log of runs: append a record, and keep the file small.
 *
 * Runs in whoever ends a run, with the caller's own rights; several may at
 * once. A record is one write(2) at the end of the file, which the kernel
 * keeps whole. At its limit the file becomes the old one and a new one begins.
 * The reasons are numbered as in the result's schema: exited, signaled,
 * timeout, oom, limit, policy, cancelled, setup.
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

int sbx_log_append(const char *path, const void *record, size_t size)
{
	struct stat st;
	ssize_t done;
	int fd;

	if (size > SBX_LOG_RECORD_MAX || size % 8)
		return -EINVAL;
	fd = log_open(path, &st);
	if (fd < 0)
		return fd;
	if (st.st_size >= SBX_LOG_FILE_MAX) {
		/* where it cannot be taken away now, the next run tries */
		int err = rotate(fd, path, &st);
		int fresh = err ? err : log_open(path, &st);

		if (fresh >= 0) {
			close(fd);
			fd = fresh;
		} else if (st.st_size >= 2 * (off_t)SBX_LOG_FILE_MAX) {
			close(fd);
			return -EFBIG;
		}
	}
	done = write(fd, record, size);
	if (done >= 0 && (size_t)done != size)
		done = -ENOSPC;	/* half a record: the reader passes over it */
	else if (done < 0)
		done = -errno;
	close(fd);
	return done < 0 ? (int)done : 0;
}
