// SPDX-License-Identifier: Apache-2.0
/*
 * group_journal.c - which groups belong to which run, for whoever comes after.
 *
 * A journal for each run, in the form of sandbox/run/cgroup.py: who wrote it,
 * then the path of each leaf, in hexadecimal. Written before the first leaf is
 * made, removed after the last is gone, both under a lock on the directory.
 *
 * Must not: touch a directory that is not named as its run's group is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "group.h"
#include "supervise.h"

#define PREFIX "sandbox-"
#define JOURNAL_MAX (SBX_GROUP_LEAVES_MAX * (2 * PATH_MAX + 1) + 64)

/**
 * sbx_group_journal_open - the directory of journals, if it is the caller's
 * Return: a descriptor, or a negative errno.
 */
int sbx_group_journal_open(const char *path)
{
	struct stat info;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &info) == 0 && info.st_uid == geteuid() &&
	    !(info.st_mode & 022))
		return fd;
	close(fd);
	return -EPERM;
}

static char *add_hex(char *to, const char *text)
{
	static const char digits[] = "0123456789abcdef";

	for (; *text; text++) {
		*to++ = digits[(unsigned char)*text >> 4];
		*to++ = digits[*text & 0xf];
	}
	return to;
}

/**
 * sbx_group_journal_write - name the leaves of this run
 * Context: under the lock.
 * Return: 0 or a negative errno.
 */
int sbx_group_journal_write(const struct sbx_group *group)
{
	char rows[JOURNAL_MAX];
	char *at = rows;
	size_t i;

	for (i = 0; i < group->count; i++) {
		if (strlen(group->leaves[i].place) + SBX_GROUP_NAME >= PATH_MAX)
			return -ENAMETOOLONG;
		at = add_hex(at, group->leaves[i].place);
		at = add_hex(at, "/");
		at = add_hex(at, group->name);
		*at++ = '\n';
	}
	return sbx_journal_write(group->folder_fd,
				 group->name + sizeof(PREFIX) - 1, rows,
				 (size_t)(at - rows));
}

/**
 * sbx_group_journal_drop - forget this run, whose leaves are gone
 */
void sbx_group_journal_drop(const struct sbx_group *group)
{
	int lock = sbx_journal_lock(group->folder_fd);

	unlinkat(group->folder_fd, group->name + sizeof(PREFIX) - 1, 0);
	if (lock >= 0)
		close(lock);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode a line; what does not fit, or is no path, becomes "". */
static void decode_hex(const char *line, size_t size, char path[PATH_MAX])
{
	size_t i;

	path[0] = '\0';
	if (size % 2 || size / 2 >= PATH_MAX)
		return;
	for (i = 0; i < size; i += 2) {
		int high = digit_of(line[i]), low = digit_of(line[i + 1]);

		path[i / 2] = high < 0 || low < 0 ? '\0' :
						    (char)(high << 4 | low);
	}
	path[size / 2] = '\0';
}

/* Remove the group of a dead run; return 0 while it is still busy. */
static int group_remove(const char *path, const char *run)
{
	const char *name = strrchr(path, '/');

	if (path[0] != '/' || strncmp(name + 1, PREFIX, sizeof(PREFIX) - 1) ||
	    strcmp(name + sizeof(PREFIX), run))
		return 1;	/* not ours to touch */
	return rmdir(path) == 0 || errno == ENOENT;
}

static void collect_one(int folder_fd, const char *run)
{
	char text[JOURNAL_MAX + 1], path[PATH_MAX];
	int fd = openat(folder_fd, run,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t size = -1;
	char *line, *end;
	int is_gone = 1;

	if (fd >= 0) {
		size = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[size > 0 ? size : 0] = '\0';
	if (sbx_journal_is_alive(text))
		return;
	end = strchr(text, '\n');
	while (end) {
		line = end + 1;
		end = strchr(line, '\n');
		if (!end)
			break;
		decode_hex(line, (size_t)(end - line), path);
		is_gone &= group_remove(path, run);
	}
	if (is_gone)
		unlinkat(folder_fd, run, 0);
}

/**
 * sbx_group_collect - remove what runs left whose supervisor was killed
 *
 * One that still has processes (they are just ending: pid 1 saw its supervisor
 * go) stays for the run after this.
 * Context: under the lock.
 */
void sbx_group_collect(int folder_fd)
{
	int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *item;

	if (!folder) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((item = readdir(folder)) != NULL)
		if (item->d_name[0] != '.' && strcmp(item->d_name, "lock"))
			collect_one(folder_fd, item->d_name);
	closedir(folder);
}
