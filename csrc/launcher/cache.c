// SPDX-License-Identifier: Apache-2.0
/*
 * cache.c - find an entry of the plan cache, and judge it.
 *
 * The key is everything a caller says: where, with which directories, which
 * options. Its checksum names the file; the whole key stands in the entry, so
 * two keys that share a name do not share an entry. The file is read once into
 * private memory, and only that copy is looked at: a writer that changes it
 * under us changes nothing.
 *
 * An entry that is odd in any way is one that is not there. Python, which is
 * asked then, replaces it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher.h"

#define KEY_FORMAT "1"

static const char *const key_variables[] = {
	"HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
	"XDG_CONFIG_HOME", "XDG_STATE_HOME", "VIRTUAL_ENV",
};

static void key_add(struct sbx_text *key, const char *part)
{
	if (key->size)
		sbx_text_add(key, "", 1);
	sbx_text_string(key, part);
}

/**
 * sbx_entry_key - the bytes that stand for this command line
 * @cwd: where the caller is
 * @key: filled; the caller frees it
 *
 * Return: 0, or SBX_HANDOVER.
 */
int sbx_entry_key(const char *cwd, const struct sbx_arguments *arguments,
		  struct sbx_text *key)
{
	size_t i;

	memset(key, 0, sizeof(*key));
	key_add(key, KEY_FORMAT);
	key_add(key, cwd);
	for (i = 0; i < sizeof(key_variables) / sizeof(char *); i++) {
		const char *value = getenv(key_variables[i]);

		key_add(key, key_variables[i]);
		if (value) {
			sbx_text_string(key, "=");
			sbx_text_string(key, value);
		}
	}
	for (i = 0; i < arguments->option_count; i++)
		if (!sbx_is_quiet_word(arguments->options[i]))
			key_add(key, arguments->options[i]);
	return key->failed ? SBX_HANDOVER : 0;
}

static int is_own_directory(const char *path)
{
	struct stat info;

	return lstat(path, &info) == 0 && S_ISDIR(info.st_mode) &&
	       info.st_uid == geteuid() && !(info.st_mode & 022);
}

/**
 * sbx_own_folder - a directory of ours, as sandbox/host/paths.py finds it
 * @variable: that names its base
 * @below_home: the base without it
 * @name: of the directory inside ours
 * @path: the path, without a NUL; the caller frees it
 *
 * Return: 0 where it and the one above are private, or a negative errno.
 */
int sbx_own_folder(const char *variable, const char *below_home,
		   const char *name, struct sbx_text *path)
{
	const char *base = getenv(variable);

	if (!base || base[0] != '/') {
		base = getenv("HOME");
		if (!base || base[0] != '/')
			return -ENOENT;	/* the user database is Python's */
		sbx_text_string(path, base);
		base = below_home;
	}
	sbx_text_string(path, base);
	sbx_text_add(path, "/sandbox", sizeof("/sandbox"));
	if (path->failed || !is_own_directory(path->data))
		return -EPERM;
	path->size--;
	sbx_text_add(path, name, strlen(name) + 1);
	if (path->failed || !is_own_directory(path->data))
		return -EPERM;
	path->size--;
	return 0;
}

/**
 * sbx_entry_name - the file name of the entry with this key: 32 hex digits
 */
void sbx_entry_name(const struct sbx_text *key, char name[SBX_NAME_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	size_t half, i;

	for (half = 0; half < 2; half++) {
		uint64_t sum = sbx_checksum(key->data, key->size, half + 1);

		for (i = 16; i > 0; i--, sum >>= 4)
			name[half * 16 + i - 1] = digits[sum & 15];
	}
	name[SBX_NAME_SIZE - 1] = '\0';
}

/* A file of ours that nobody else could have written; its size, or 0. */
static size_t private_size(int fd)
{
	struct stat info;

	if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) ||
	    info.st_uid != geteuid() || info.st_mode & 077 ||
	    info.st_nlink != 1 || info.st_size <= 0 ||
	    info.st_size > SBX_ENTRY_MAX)
		return 0;
	return (size_t)info.st_size;
}

static void *blob_read(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY |
			    O_NONBLOCK);
	void *blob = MAP_FAILED;
	ssize_t got;

	if (fd < 0)
		return NULL;
	*size = private_size(fd);
	if (*size)
		blob = mmap(NULL, *size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	got = blob == MAP_FAILED ? -1 : read(fd, blob, *size);
	close(fd);
	return got >= 0 && (size_t)got == *size ? blob : NULL;
}

static int key_holds(const struct sbx_view *view, const struct sbx_text *key)
{
	size_t size;
	const void *found = sbx_records(view, SBX_SECTION_ENTRY_KEY, &size);

	return found && size == key->size && !memcmp(found, key->data, size);
}

/* Made by this very version, for the same user. */
static int is_for_us(const struct sbx_view *view,
		     const struct sbx_entry_core *core)
{
	return core->uid == geteuid() && core->gid == getegid() &&
	       !strcmp(sbx_string(view, core->version), SBX_VERSION);
}

static int is_empty(const struct sbx_view *view, uint32_t kind)
{
	size_t count;

	sbx_records(view, kind, &count);
	return count == 0;
}

/*
 * Facts may be looked at while the child makes its namespaces, where nothing
 * that anybody could see happens before that: no notes, files or groups.
 */
static int facts_hold(struct sbx_entry *entry)
{
	const struct sbx_view *view = &entry->view;
	const struct sbx_fact *facts;
	size_t count;

	entry->are_facts_late = is_empty(view, SBX_SECTION_ENTRY_NOTES) &&
				is_empty(view, SBX_SECTION_ENTRY_PLACEHOLDERS) &&
				is_empty(view, SBX_SECTION_ENTRY_GROUPS);
	if (entry->are_facts_late)
		return 1;
	facts = sbx_records(view, SBX_SECTION_ENTRY_FACTS, &count);
	return sbx_facts_hold(facts, count, view->base) == count;
}

/**
 * sbx_entry_judge - is the blob an entry for this key, of this caller?
 * @blob: aligned to 8; @entry points into it
 *
 * Context: pure but for the caller's ids. The facts are not looked at.
 * Return: 0, or SBX_HANDOVER.
 */
int sbx_entry_judge(const void *blob, size_t size, const struct sbx_text *key,
		    struct sbx_entry *entry)
{
	struct sbx_view *view = &entry->view;
	struct sbx_error error;
	size_t count;

	memset(entry, 0, sizeof(*entry));
	if (sbx_entry_check(blob, size, &error) < 0 ||
	    sbx_view_open(view, blob, size, SBX_ENTRY_MAGIC, SBX_ENTRY_MAX,
			  &error) < 0)
		return SBX_HANDOVER;
	entry->core = sbx_records(view, SBX_SECTION_ENTRY_CORE, &count);
	if (!is_for_us(view, entry->core) || !key_holds(view, key))
		return SBX_HANDOVER;
	entry->plan = sbx_records(view, SBX_SECTION_ENTRY_PLAN,
				  &entry->plan_size);
	entry->template = sbx_records(view, SBX_SECTION_ENTRY_INVOCATION,
				      &entry->template_size);
	return 0;
}

/**
 * sbx_entry_open - the entry for @key, if there is one and it holds, as far as
 *	its facts were looked at
 *
 * Context: its memory lives as long as the process.
 * Return: 0, or SBX_HANDOVER.
 */
int sbx_entry_open(const struct sbx_text *key, struct sbx_entry *entry)
{
	struct sbx_text path = { 0 };
	char name[SBX_NAME_SIZE];
	void *blob = NULL;
	size_t size = 0;

	if (sbx_own_folder("XDG_CACHE_HOME", "/.cache", "/plans", &path) == 0) {
		sbx_entry_name(key, name);
		sbx_text_add(&path, "/", 1);
		sbx_text_add(&path, name, sizeof(name));
		if (!path.failed)
			blob = blob_read(path.data, &size);
	}
	sbx_text_free(&path);
	if (!blob || sbx_entry_judge(blob, size, key, entry) != 0)
		return SBX_HANDOVER;
	return facts_hold(entry) ? 0 : SBX_HANDOVER;
}
