// SPDX-License-Identifier: Apache-2.0
/*
 * group_journal.c - which groups belong to which run, for whoever comes after.
 *
 * A file for each run, in the form of sandbox/run/cgroup.py: the supervisor's
 * pid and start time, then the path of each leaf, in hexadecimal. Written
 * before the first leaf is made, removed after the last is gone, both under a
 * lock on the directory.
 *
 * Must not: touch a directory that is not named as its run's group is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "group.h"

#define PREFIX "sandbox-"
#define JOURNAL_MAX (SBX_GROUP_LEAVES_MAX * (2 * PATH_MAX + 1) + 64)
#define STAT_MAX 1024
#define FIELD_STARTTIME 22	/* proc_pid_stat(5); the state is 3 */

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

/**
 * sbx_group_journal_lock - wait until no other run has the journals
 * Return: a descriptor whose close ends the lock, or a negative errno.
 */
int sbx_group_journal_lock(int folder_fd)
{
	int err = 0;
	int fd = openat(folder_fd, "lock",
			O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0 && !err)
		err = errno == EINTR ? 0 : -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Return the length of "pid starttime", which no later process shares; 0 where
 * there is no such process. */
static size_t process_key(uint64_t pid, char key[STAT_MAX])
{
	char path[48] = "/proc/", text[STAT_MAX];
	ssize_t size = -1;
	size_t used;
	char *at;
	int fd, i;

	used = strlen(path);
	used += sbx_format_u64(pid, 10, path + used);
	memcpy(path + used, "/stat", sizeof("/stat"));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	if (size <= 0)
		return 0;
	text[size] = '\0';
	at = strrchr(text, ')');	/* the name may hold anything */
	for (i = 2; at && i < FIELD_STARTTIME; i++)
		at = strchr(at + 1, ' ');
	if (!at)
		return 0;
	used = sbx_format_u64(pid, 10, key);
	key[used++] = ' ';
	used += sbx_format_u64(strtoull(at, NULL, 10), 10, key + used);
	return used;
}

static int is_alive(const char *line, size_t size)
{
	char key[STAT_MAX];
	char *end;
	uint64_t pid = strtoull(line, &end, 10);

	return end != line && *end == ' ' && process_key(pid, key) == size &&
	       !memcmp(key, line, size);
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
	const char *name = group->name + sizeof(PREFIX) - 1;
	char text[JOURNAL_MAX], draft[SBX_GROUP_NAME + 4];
	char *at = text;
	int fd, err;
	size_t i;

	at += process_key((uint64_t)getpid(), text);
	if (at == text) {	/* no /proc: nobody can tell; collected at once */
		memcpy(at, "0 0", 3);
		at += 3;
	}
	*at++ = '\n';
	for (i = 0; i < group->count; i++) {
		if (strlen(group->leaves[i].place) + SBX_GROUP_NAME >= PATH_MAX)
			return -ENAMETOOLONG;
		at = add_hex(at, group->leaves[i].place);
		at = add_hex(at, "/");
		at = add_hex(at, group->name);
		*at++ = '\n';
	}
	strcpy(draft, name);
	strcat(draft, ".new");
	fd = openat(group->folder_fd, draft,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = sbx_write_all(fd, text, (size_t)(at - text));
	close(fd);
	if (!err && renameat(group->folder_fd, draft, group->folder_fd, name))
		err = -errno;
	if (err < 0)
		unlinkat(group->folder_fd, draft, 0);
	return err;
}

/**
 * sbx_group_journal_drop - forget this run, whose leaves are gone
 */
void sbx_group_journal_drop(const struct sbx_group *group)
{
	int lock = sbx_group_journal_lock(group->folder_fd);

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
	end = strchr(text, '\n');
	if (end && is_alive(text, (size_t)(end - text)))
		return;
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
