// SPDX-License-Identifier: Apache-2.0
/*
 * journal.c - journals of placeholders in the runtime directory, and its lock.
 *
 * Runs in the supervisor. The same directory, lock and format as
 * sandbox/run/{journal,placeholders}.py, with which it is shared: a line
 * "PID STARTTIME" of the process that wrote it, then "DEV INO PATH" for each
 * placeholder, the path in hexadecimal digits.
 */
#include <stdio.h>	/* renameat(2) */
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "supervise.h"
#include "sys.h"

#define JOURNAL_MAX 16777216
#define KEY_MAX 64

/* Make and check one private directory of ours; return it opened. */
static int private_open(int base, const char *name)
{
	struct stat found;
	int fd;

	if (mkdirat(base, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(base, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &found) < 0 || found.st_uid != geteuid() ||
	    found.st_mode & 022) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

/* @names below @base, each made and checked; closes @base. */
static int chain_open(int base, const char *const names[])
{
	while (base >= 0 && *names) {
		int next = private_open(base, *names++);

		close(base);
		base = next;
	}
	return base;
}

static int base_open(const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* An XDG base below the home, made where it is absent and the home is not. */
static int home_base_open(const char *home)
{
	int fd = base_open(home);
	const char *const parts[] = { ".local", "state", NULL };
	size_t i;

	for (i = 0; fd >= 0 && parts[i]; i++) {
		int next;

		if (mkdirat(fd, parts[i], i ? 0700 : 0777) < 0 &&
		    errno != EEXIST)
			next = -errno;
		else
			next = openat(fd, parts[i],
				      O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (next == -1)
			next = -errno;
		close(fd);
		fd = next;
	}
	return fd;
}

/**
 * sbx_journal_folder - open the directory of journals, made if need be
 *
 * Below $XDG_RUNTIME_DIR, else in our state directory: runtime_dir() of
 * sandbox/host/paths.py. Its last resorts (a home from the user database,
 * a state directory with missing parents, /tmp) are left to Python.
 * Context: supervisor.
 * Return: the descriptor, or -errno.
 */
int sbx_journal_folder(void)
{
	static const char *const in_runtime[] = { "sandbox", "placeholders",
						  NULL };
	static const char *const in_state[] = { "sandbox", "run",
						"placeholders", NULL };
	const char *base = getenv("XDG_RUNTIME_DIR");

	if (base && *base == '/' && access(base, W_OK | X_OK) == 0)
		return chain_open(base_open(base), in_runtime);
	base = getenv("XDG_STATE_HOME");
	if (base && *base == '/')
		return chain_open(base_open(base), in_state);
	base = getenv("HOME");
	if (base && *base == '/')
		return chain_open(home_base_open(base), in_state);
	return -ENOENT;
}

/**
 * sbx_journal_lock - wait for the directory's lock
 * Return: a descriptor whose closing gives it back, or -errno.
 */
int sbx_journal_lock(int folder)
{
	int fd = openat(folder, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			int err = -errno;

			close(fd);
			return err;
		}
	return fd;
}

/* "PID STARTTIME", which no later process shares; "" where it is gone. */
static void process_key(const char *pid, char key[KEY_MAX])
{
	char path[40] = "/proc/", text[1024];
	const char *at;
	ssize_t size;
	int field, fd;

	*key = '\0';
	strcat(path, pid);
	strcat(path, "/stat");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	size = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (size <= 0)
		return;
	text[size] = '\0';
	/* the name may hold anything: count the fields behind it */
	at = strrchr(text, ')');
	for (field = 2; at && field < 22; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	if (!at || strcspn(at, " ") > 20)
		return;
	strcpy(key, pid);
	strcat(key, " ");
	strncat(key, at, strcspn(at, " "));
}

/**
 * sbx_journal_is_alive - whether the process that wrote a journal is there
 * @text: of the journal
 */
int sbx_journal_is_alive(const char *text)
{
	size_t size = strcspn(text, "\n");
	size_t digits = strspn(text, "0123456789");
	char pid[24], key[KEY_MAX];

	if (!digits || digits > 20 || text[digits] != ' ')
		return 0;
	memcpy(pid, text, digits);
	pid[digits] = '\0';
	process_key(pid, key);
	return strlen(key) == size && memcmp(key, text, size) == 0;
}

/**
 * sbx_journal_write - write a journal of this process, whole or not at all
 * @rows: the lines behind the first
 * Context: with the lock.
 * Return: 0 or -errno.
 */
int sbx_journal_write(int folder, const char *name, const char *rows,
		      size_t size)
{
	char pid[24], key[KEY_MAX], draft[64];
	int err, fd;

	sbx_format_u64((uint64_t)getpid(), 10, pid);
	process_key(pid, key);
	strcat(key, "\n");
	strcpy(draft, name);
	strcat(draft, ".new");
	fd = openat(folder, draft,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	err = sbx_write_all(fd, key, strlen(key));
	if (!err)
		err = sbx_write_all(fd, rows, size);
	close(fd);
	if (!err && renameat(folder, draft, folder, name) < 0)
		err = -errno;
	if (err)
		unlinkat(folder, draft, 0);
	return err;
}

static int hex_digit(char letter)
{
	if (letter >= '0' && letter <= '9')
		return letter - '0';
	if (letter >= 'a' && letter <= 'f')
		return letter - 'a' + 10;
	return -1;
}

/**
 * sbx_journal_next - the next row of a journal
 * @at: the text, at the start of a line
 * Return: the start of the next line; NULL at the end or where it is broken.
 */
const char *sbx_journal_next(const char *at, struct sbx_journal_row *row)
{
	char *end;
	size_t size = 0;

	if (*at < '0' || *at > '9')
		return NULL;
	row->dev = strtoull(at, &end, 10);
	if (*end != ' ')
		return NULL;
	row->ino = strtoull(end + 1, &end, 10);
	if (*end != ' ')
		return NULL;
	for (at = end + 1; hex_digit(at[0]) >= 0; at += 2) {
		if (hex_digit(at[1]) < 0 || size == PATH_MAX - 1)
			return NULL;
		row->path[size++] =
			(char)(hex_digit(at[0]) << 4 | hex_digit(at[1]));
	}
	row->path[size] = '\0';
	return *at == '\n' && size ? at + 1 : NULL;
}

/* A broken journal names nothing, and nobody who is alive. */
static int is_whole(const char *text, struct sbx_journal_row *row)
{
	const char *at = strchr(text, '\n');

	at = at ? at + 1 : NULL;
	while (at && *at)
		at = sbx_journal_next(at, row);
	return at != NULL;
}

static char *text_read(int fd)
{
	struct stat found;
	ssize_t size;
	char *text;

	if (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode) ||
	    found.st_size > JOURNAL_MAX)
		return NULL;
	text = malloc((size_t)found.st_size + 1);
	if (!text)
		return NULL;
	size = read(fd, text, (size_t)found.st_size);
	text[size < 0 ? 0 : size] = '\0';
	return text;
}

/**
 * sbx_journal_read - the text of a journal
 * Context: with the lock.
 * Return: to be freed; "" for a broken one; NULL without memory.
 */
char *sbx_journal_read(int folder, const char *name)
{
	struct sbx_journal_row row;
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *text = NULL;

	if (fd >= 0) {
		text = text_read(fd);
		close(fd);
	}
	if (!text)
		return strdup("");
	if (!is_whole(text, &row))
		*text = '\0';
	return text;
}
