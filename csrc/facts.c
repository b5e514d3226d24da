// SPDX-License-Identifier: Apache-2.0
/*
 * facts.c - what was seen while a request was prepared: does it still hold?
 *
 * Only looks, changes nothing, and takes whatever it cannot see for changed.
 * Runs in the parent, before anything is started.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core.h"

#define CONTENT_MAX 65536
#define CGROUP_TYPE " - cgroup"
#define NSEC 1000000000ull

static uint64_t nanoseconds(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * NSEC + (uint64_t)time->tv_nsec;
}

static int is_absent(const char *path, uint64_t err)
{
	struct stat info;

	if (lstat(path, &info) == 0)
		return 0;
	return err ? (uint64_t)errno == err
		   : errno == ENOENT || errno == ENOTDIR;
}

static int is_kind(const char *path, uint64_t kind)
{
	struct stat info;

	return lstat(path, &info) == 0 && (info.st_mode & S_IFMT) == kind;
}

static int is_file(const char *path, const uint64_t value[6])
{
	struct stat info;

	return stat(path, &info) == 0 && (uint64_t)info.st_dev == value[0] &&
	       (uint64_t)info.st_ino == value[1] &&
	       (uint64_t)info.st_size == value[2] &&
	       nanoseconds(&info.st_mtim) == value[3] &&
	       nanoseconds(&info.st_ctim) == value[4] &&
	       ((uint64_t)info.st_mode << 32 | info.st_uid) == value[5];
}

static int is_same(const char *path, const uint64_t value[6])
{
	struct stat info;

	return stat(path, &info) == 0 && (uint64_t)info.st_dev == value[0] &&
	       (uint64_t)info.st_ino == value[1];
}

static int is_owner(const char *path, uint64_t uid)
{
	struct stat info;

	return stat(path, &info) == 0 && info.st_uid == uid;
}

static int has_content(const char *path, const uint64_t value[6])
{
	char content[CONTENT_MAX];
	size_t size = 0;
	ssize_t count;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0;
	do {
		count = read(fd, content + size, sizeof(content) - size);
		if (count > 0)
			size += (size_t)count;
	} while (count > 0 && size < sizeof(content));
	close(fd);
	return count >= 0 && size == value[1] &&
	       sbx_checksum(content, size, 0) == value[0];
}

/* memmem(3) prepares more for a needle than a line is worth. */
static int is_cgroup_line(const char *line, size_t length)
{
	const size_t rest = strlen(CGROUP_TYPE) - 1;
	const char *end = line + length;
	const char *dash = line;

	while ((dash = memchr(dash, '-', (size_t)(end - dash))) != NULL) {
		if (dash > line && (size_t)(end - dash) >= rest &&
		    !memcmp(dash - 1, CGROUP_TYPE, rest + 1))
			return 1;
		dash++;
	}
	return 0;
}

/* Take the matching lines out of @size bytes; return how many bytes are left. */
static size_t lines_take(char *text, size_t size, uint64_t found[2])
{
	char *end, *line = text;

	while ((end = memchr(line, '\n', size)) != NULL) {
		size_t length = (size_t)(end - line);

		/* proc(5): spaces of a path are escaped, so this is the type */
		if (is_cgroup_line(line, length)) {
			found[0] = sbx_checksum(line, length, found[0]);
			found[1]++;
		}
		size -= length + 1;
		line = end + 1;
	}
	memmove(text, line, size);
	return size;
}

/* Other mounts come and go all day; those of control groups do not. */
static int has_cgroup_mounts(const char *path, const uint64_t value[6])
{
	char text[CONTENT_MAX];
	uint64_t found[2] = { 0, 0 };
	size_t size = 0;
	ssize_t count;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return 0;
	do {
		count = read(fd, text + size, sizeof(text) - size);
		if (count > 0)
			size = lines_take(text, size + (size_t)count, found);
	} while (count > 0 && size < sizeof(text));
	close(fd);
	return count == 0 && !size && found[0] == value[0] &&
	       found[1] == value[1];
}

static int has_link(const char *path, const uint64_t value[6])
{
	char target[PATH_MAX];
	ssize_t size = readlink(path, target, sizeof(target));

	return size >= 0 && (uint64_t)size == value[1] &&
	       sbx_checksum(target, (size_t)size, 0) == value[0];
}

/* An overlay's upper on a tmpfs needs user xattrs there; a memfd lies on one. */
static int tmpfs_xattr_errno(void)
{
	int fd = memfd_create("sandbox-probe", MFD_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return errno;
	if (fsetxattr(fd, "user.sandbox", "1", 1, 0) < 0)
		err = errno;
	close(fd);
	return err;
}

static int answers(const uint64_t value[6])
{
	struct rlimit limit;
	int64_t found;

	switch (value[0]) {
	case SBX_PROBE_PRIVILEGED:
		found = sbx_is_privileged();
		break;
	case SBX_PROBE_LANDLOCK:
		found = sbx_landlock_abi();
		break;
	case SBX_PROBE_SECCOMP:
		found = sbx_seccomp_action_avail((uint32_t)value[1]);
		break;
	case SBX_PROBE_RLIMIT:
		if (getrlimit((int)value[1], &limit) < 0)
			return 0;
		return limit.rlim_max == value[2];
	case SBX_PROBE_TMPFS_XATTR:
		found = tmpfs_xattr_errno();
		break;
	default:
		return 0;
	}
	return (uint64_t)found == value[2];
}

static int holds(const struct sbx_fact *fact, const char *path)
{
	switch (fact->kind) {
	case SBX_FACT_ABSENT:
		return is_absent(path, fact->value[0]);
	case SBX_FACT_FILE:
		return is_file(path, fact->value);
	case SBX_FACT_KIND:
		return is_kind(path, fact->value[0]);
	case SBX_FACT_CONTENT:
		return has_content(path, fact->value);
	case SBX_FACT_SAME:
		return is_same(path, fact->value);
	case SBX_FACT_ACCESS:
		return (access(path, (int)fact->value[0]) == 0) ==
		       (fact->value[1] != 0);
	case SBX_FACT_LINK:
		return has_link(path, fact->value);
	case SBX_FACT_CGROUP_MOUNTS:
		return has_cgroup_mounts(path, fact->value);
	case SBX_FACT_OWNER:
		return is_owner(path, fact->value[0]);
	case SBX_FACT_PROBE:
		return answers(fact->value);
	default:
		return 0;
	}
}

size_t sbx_facts_hold(const struct sbx_fact *facts, size_t count,
		      const void *base)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (!holds(&facts[i], (const char *)base + facts[i].path))
			return i;
	return count;
}
