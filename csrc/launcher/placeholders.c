// SPDX-License-Identifier: Apache-2.0
/*
 * placeholders.c - stand-ins for absent protected paths, for one run.
 *
 * Runs in the supervisor: made before the child, given back after its end. On
 * the host a placeholder is a socket that nobody listens on; where there is no
 * such thing, an empty file. A journal names it, so that two runs in one
 * directory share it and the next run, of either door, collects what a killed
 * one has left. What it is and why: sandbox/run/placeholders.py, which this
 * file does the same as.
 *
 * Must not: follow a link on the way to a path; remove anything that is not
 * an empty read-only placeholder any more.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "supervise.h"
#include "sys.h"

#define MODE 0444
#define ROW_MAX (2 * PATH_MAX + 64)

/* The same for kernels and containers without openat2(2): step by step. */
static int directory_walk(char *path)
{
	int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *rest = path;
	const char *part;

	if (fd < 0)
		return -errno;
	while ((part = strtok_r(NULL, "/", &rest))) {
		int next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW |
					    O_CLOEXEC);
		int err = -errno;

		close(fd);
		if (next < 0)
			return err;
		fd = next;
	}
	return fd;
}

/* The directory of @path; no component of it may be a link. */
static int parent_open(const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');
	size_t size = slash ? (size_t)(slash - path) : 0;
	char directory[PATH_MAX];
	int fd;

	if (!slash || size >= sizeof(directory) - 1)
		return -EINVAL;
	memcpy(directory, path, size);
	strcpy(directory + size, size ? "" : "/");
	*name = slash + 1;
	fd = sys_openat2(AT_FDCWD, directory, O_PATH | O_DIRECTORY,
			 SBX_RESOLVE_NO_SYMLINKS);
	return fd == -ENOSYS || fd == -EPERM ? directory_walk(directory) : fd;
}

/* Where it exists: another run's placeholder, or by now the real thing. It is
 * covered all the same. */
static int make_at(int parent, const char *name, mode_t kind)
{
	return mknodat(parent, name, kind | MODE, 0) == 0 || errno == EEXIST;
}

/* Where the caller may not make it, the command may not either: it has the
 * same rights. */
static void make(struct sbx_made *made)
{
	struct stat found;
	const char *name;
	int parent = parent_open(made->path, &name);

	if (parent < 0)
		return;
	if ((make_at(parent, name, S_IFSOCK) ||
	     make_at(parent, name, S_IFREG)) &&
	    fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) == 0) {
		made->is_there = 1;
		made->dev = found.st_dev;
		made->ino = found.st_ino;
	}
	close(parent);
}

/* Remove the placeholder if it still is what was made (@ino 0: unknown). */
static void give_back(const char *path, uint64_t dev, uint64_t ino)
{
	struct stat found;
	const char *name;
	int parent = parent_open(path, &name);

	if (parent < 0)
		return;		/* its directory is gone, and it with it */
	if (fstatat(parent, name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (!ino || (found.st_dev == dev && found.st_ino == ino)) &&
	    (S_ISSOCK(found.st_mode) ||
	     (S_ISREG(found.st_mode) && !found.st_size)) &&
	    !(found.st_mode & ~(mode_t)MODE & 0777))
		unlinkat(parent, name, 0);
	close(parent);
}

static int names_path(const char *text, const char *path)
{
	struct sbx_journal_row row;
	const char *at = strchr(text, '\n');

	at = at ? at + 1 : NULL;
	while (at && *at) {
		at = sbx_journal_next(at, &row);
		if (at && !strcmp(row.path, path))
			return 1;
	}
	return 0;
}

static DIR *folder_list(int folder)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);

	if (!list && fd >= 0)
		close(fd);
	return list;
}

static const char *journal_name(DIR *list)
{
	const struct dirent *item;

	while ((item = readdir(list)))
		if (strcmp(item->d_name, ".") && strcmp(item->d_name, "..") &&
		    strcmp(item->d_name, "lock"))
			return item->d_name;
	return NULL;
}

/* The text of a journal, in a list. */
struct journal {
	struct journal *next;
	char *text;
};

static void journals_free(struct journal *first)
{
	while (first) {
		struct journal *next = first->next;

		free(first->text);
		free(first);
		first = next;
	}
}

/* Takes @text over. */
static int journal_add(struct journal **first, char *text)
{
	struct journal *journal = text ? malloc(sizeof(*journal)) : NULL;

	if (!journal) {
		free(text);
		return -ENOMEM;
	}
	journal->next = *first;
	journal->text = text;
	*first = journal;
	return 0;
}

static int journals_read(int folder, struct journal **living,
			 struct journal **dead)
{
	DIR *list = folder_list(folder);
	const char *name;
	int err = 0;

	if (!list)
		return -errno;
	while (!err && (name = journal_name(list))) {
		char *text = sbx_journal_read(folder, name);

		if (text && !sbx_journal_is_alive(text))
			err = journal_add(dead, text);
		else
			err = journal_add(living, text);
	}
	closedir(list);
	return err;
}

/* Remove the journals of runs that ended, whose placeholders are gone. */
static void journals_remove(int folder)
{
	DIR *list = folder_list(folder);
	const char *name;

	while (list && (name = journal_name(list))) {
		char *text = sbx_journal_read(folder, name);

		if (text && !sbx_journal_is_alive(text))
			unlinkat(folder, name, 0);
		free(text);
	}
	if (list)
		closedir(list);
}

static int is_held(const struct journal *living, const char *path)
{
	for (; living; living = living->next)
		if (names_path(living->text, path))
			return 1;
	return 0;
}

static void journal_drop(const struct journal *living, const char *text)
{
	struct sbx_journal_row row;
	const char *at = strchr(text, '\n');

	at = at ? at + 1 : NULL;
	while (at && *at) {
		at = sbx_journal_next(at, &row);
		if (at && !is_held(living, row.path))
			give_back(row.path, row.dev, row.ino);
	}
}

/*
 * Give back what runs left that ended without doing so, and what @mine made
 * (or NULL), but for what a living run counts on. Where that cannot be told,
 * everything stays.
 */
static int collect(int folder, const struct sbx_placeholders *mine)
{
	struct journal *living = NULL, *dead = NULL;
	int err = journals_read(folder, &living, &dead);
	const struct journal *at;
	size_t i;

	for (at = dead; !err && at; at = at->next)
		journal_drop(living, at->text);
	if (!err && dead)
		journals_remove(folder);
	for (i = 0; !err && mine && i < mine->count; i++) {
		const struct sbx_made *made = &mine->made[i];

		if (made->is_there && !is_held(living, made->path))
			give_back(made->path, made->dev, made->ino);
	}
	journals_free(living);
	journals_free(dead);
	return err;
}

static size_t row_format(char *out, const struct sbx_made *made)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *from = (const unsigned char *)made->path;
	char number[24];
	char *at = out;

	at += sbx_format_u64(made->dev, 10, number);
	strcpy(out, number);
	*at++ = ' ';
	at += sbx_format_u64(made->ino, 10, at);
	*at++ = ' ';
	for (; *from; from++) {
		*at++ = digits[*from >> 4];
		*at++ = digits[*from & 15];
	}
	*at++ = '\n';
	return (size_t)(at - out);
}

/* All of them before they are made, then those that were. */
static int rows_write(const struct sbx_placeholders *placeholders, int is_made)
{
	size_t used = 0, i;
	char *rows = malloc(placeholders->count * ROW_MAX);
	int err;

	if (!rows)
		return -ENOMEM;
	for (i = 0; i < placeholders->count; i++)
		if (!is_made || placeholders->made[i].is_there)
			used += row_format(rows + used, &placeholders->made[i]);
	err = sbx_journal_write(placeholders->folder, placeholders->run_id,
				rows, used);
	free(rows);
	return err;
}

static int made_init(struct sbx_placeholders *placeholders,
		     const struct sbx_view *entry)
{
	const struct sbx_placeholder *records;
	size_t i;

	records = sbx_records(entry, SBX_SECTION_ENTRY_PLACEHOLDERS,
			      &placeholders->count);
	if (!placeholders->count)
		return 0;
	placeholders->made = calloc(placeholders->count,
				    sizeof(*placeholders->made));
	if (!placeholders->made)
		return -ENOMEM;
	for (i = 0; i < placeholders->count; i++) {
		const char *path = sbx_string(entry, records[i].host);

		if (*path != '/' || strlen(path) >= PATH_MAX)
			return -EINVAL;
		placeholders->made[i].path = path;
	}
	return 0;
}

/**
 * sbx_placeholders_open - collect what is left of others, make this run's
 * @entry: see struct sbx_job; NULL: nothing to do
 * Context: supervisor, before the child.
 * Return: 0, or -errno where the journal cannot be kept; either way
 *	sbx_placeholders_close() is to be called.
 */
int sbx_placeholders_open(struct sbx_placeholders *placeholders,
			  const struct sbx_view *entry)
{
	size_t i;
	int err, lock;

	memset(placeholders, 0, sizeof(*placeholders));
	placeholders->folder = -1;
	err = entry ? made_init(placeholders, entry) : 0;
	if (err || !placeholders->count)
		return err;
	placeholders->folder = sbx_journal_folder();
	if (placeholders->folder < 0)
		return placeholders->folder;
	lock = sbx_journal_lock(placeholders->folder);
	if (lock < 0)
		return lock;
	sbx_run_id_make(placeholders->run_id);
	err = collect(placeholders->folder, NULL);
	if (!err)
		err = rows_write(placeholders, 0);
	for (i = 0; !err && i < placeholders->count; i++)
		make(&placeholders->made[i]);
	if (!err)
		err = rows_write(placeholders, 1);
	close(lock);
	return err;
}

/**
 * sbx_placeholders_close - give this run's placeholders back
 * Context: supervisor, after the end of the child.
 * Return: 0, or -errno where the next run has to collect them.
 */
int sbx_placeholders_close(struct sbx_placeholders *placeholders)
{
	int err = 0;

	if (placeholders->folder >= 0 && *placeholders->run_id) {
		int lock = sbx_journal_lock(placeholders->folder);

		err = lock;
		if (lock >= 0) {
			unlinkat(placeholders->folder, placeholders->run_id, 0);
			err = collect(placeholders->folder, placeholders);
			close(lock);
		}
	}
	if (placeholders->folder >= 0)
		close(placeholders->folder);
	free(placeholders->made);
	placeholders->made = NULL;
	placeholders->folder = -1;
	return err < 0 ? err : 0;
}
