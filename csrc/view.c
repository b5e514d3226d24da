// SPDX-License-Identifier: Apache-2.0
/*
 * view.c - reading a blob: sections, strings, paths.
 *
 * Runs in the parent before the clone (opening, checking) and in the child
 * (reading). Opening checks everything that makes later reads safe: sections
 * inside the blob, aligned, of the size their count says, and a string pool
 * that begins and ends with NUL. What the values mean is plan.c's business.
 */
#include <errno.h>
#include <string.h>

#include "core.h"

static const uint32_t record_sizes[SBX_SECTION_KINDS] = {
	[SBX_SECTION_STRINGS] = 1,
	[SBX_SECTION_CORE] = sizeof(struct sbx_plan_core),
	[SBX_SECTION_IDMAPS] = sizeof(struct sbx_id_map),
	[SBX_SECTION_MOUNTS] = sizeof(struct sbx_mount),
	[SBX_SECTION_RLIMITS] = sizeof(struct sbx_rlimit),
	[SBX_SECTION_LANDLOCK] = sizeof(struct sbx_landlock_rule),
	[SBX_SECTION_FILTERS] = sizeof(struct sbx_filter),
	[SBX_SECTION_CODE] = 8,
	[SBX_SECTION_ENV] = sizeof(struct sbx_env_rule),
	[SBX_SECTION_PROTECT] = sizeof(struct sbx_protect),
	[SBX_SECTION_NOTES] = 1,
	[SBX_SECTION_RULES] = 1,
	[SBX_SECTION_FINGERPRINT] = 1,
	[SBX_SECTION_SUPERVISE] = sizeof(struct sbx_supervise),
	[SBX_SECTION_INVOCATION] = sizeof(struct sbx_invocation_core),
	[SBX_SECTION_ARGV] = sizeof(uint32_t),
	[SBX_SECTION_ENVP] = sizeof(uint32_t),
	[SBX_SECTION_PROGRAMS] = sizeof(uint32_t),
	[SBX_SECTION_FDS] = sizeof(struct sbx_fd_map),
	[SBX_SECTION_SLOTS] = sizeof(uint32_t),
	[SBX_SECTION_ENTRY_CORE] = sizeof(struct sbx_entry_core),
	[SBX_SECTION_ENTRY_KEY] = 1,
	[SBX_SECTION_ENTRY_FACTS] = sizeof(struct sbx_fact),
	[SBX_SECTION_ENTRY_PLAN] = 1,
	[SBX_SECTION_ENTRY_INVOCATION] = 1,
	[SBX_SECTION_ENTRY_NOTES] = sizeof(uint32_t),
	[SBX_SECTION_ENTRY_PLACEHOLDERS] = sizeof(struct sbx_placeholder),
};

/**
 * sbx_check_fail - record a defect of a blob
 * @kind: section it is in, 0 for the header
 * Return: -@err.
 */
int sbx_check_fail(struct sbx_error *error, uint32_t kind, int err)
{
	error->stage = SBX_STAGE_CHECK;
	error->err = err;
	error->detail = (int32_t)kind;
	return -err;
}

static int section_check(const struct sbx_view *view,
			 const struct sbx_section *section, size_t table_end)
{
	uint64_t record;

	if (section->kind >= SBX_SECTION_KINDS)
		return -EINVAL;
	record = record_sizes[section->kind];
	if (!record || view->sections[section->kind])
		return -EINVAL;
	if (section->offset % 8 || section->offset < table_end)
		return -EINVAL;
	if (section->offset > view->size ||
	    section->size > view->size - section->offset)
		return -EINVAL;
	if ((uint64_t)section->count * record != section->size)
		return -EINVAL;
	return 0;
}

static int strings_check(const struct sbx_view *view)
{
	const struct sbx_section *section = view->sections[SBX_SECTION_STRINGS];
	const unsigned char *pool;

	if (!section || !section->size)
		return -EINVAL;
	pool = view->base + section->offset;
	if (pool[0] || pool[section->size - 1])
		return -EINVAL;
	return 0;
}

/**
 * sbx_view_open - check the frame of a blob and index its sections
 * @max: largest size allowed, bytes
 * Context: parent; pure.
 * Return: 0; -EINVAL malformed, -EPROTO another version, -E2BIG too large.
 */
int sbx_view_open(struct sbx_view *view, const void *blob, size_t size,
		  uint32_t magic, size_t max, struct sbx_error *error)
{
	const struct sbx_header *header = blob;
	const struct sbx_section *table;
	size_t table_end;
	uint32_t i;

	memset(view, 0, sizeof(*view));
	memset(error, 0, sizeof(*error));
	error->op = -1;
	if (size > max)
		return sbx_check_fail(error, 0, E2BIG);
	if (!blob || (uintptr_t)blob % 8 || size < sizeof(*header) ||
	    header->magic != magic || header->size != size)
		return sbx_check_fail(error, 0, EINVAL);
	if (header->version != SBX_FORMAT_VERSION)
		return sbx_check_fail(error, 0, EPROTO);
	if (header->section_count > SBX_SECTION_KINDS)
		return sbx_check_fail(error, 0, EINVAL);
	table_end = sizeof(*header) +
		    header->section_count * sizeof(struct sbx_section);
	if (table_end > size)
		return sbx_check_fail(error, 0, EINVAL);
	view->base = blob;
	view->size = size;
	table = (const struct sbx_section *)(header + 1);
	for (i = 0; i < header->section_count; i++) {
		error->op = (int32_t)i;
		if (section_check(view, &table[i], table_end) < 0)
			return sbx_check_fail(error, table[i].kind, EINVAL);
		view->sections[table[i].kind] = &table[i];
	}
	error->op = -1;
	if (strings_check(view) < 0)
		return sbx_check_fail(error, SBX_SECTION_STRINGS, EINVAL);
	return 0;
}

/**
 * sbx_check_sections - the blob has sections of these kinds only
 * @allowed: bit per kind
 * Context: pure.
 */
int sbx_check_sections(const struct sbx_view *view, uint64_t allowed,
		       struct sbx_error *error)
{
	uint32_t kind;

	for (kind = 0; kind < SBX_SECTION_KINDS; kind++)
		if (view->sections[kind] && !(allowed & (1ull << kind)))
			return sbx_check_fail(error, kind, EINVAL);
	return 0;
}

/**
 * sbx_records - the records of a section
 * @count: how many; 0 where the section is absent
 * Return: the first record, or NULL.
 */
const void *sbx_records(const struct sbx_view *view, uint32_t kind,
			size_t *count)
{
	const struct sbx_section *section = view->sections[kind];

	*count = section ? section->count : 0;
	return *count ? view->base + section->offset : NULL;
}

/**
 * sbx_string - the string at @offset, "" for 0
 */
const char *sbx_string(const struct sbx_view *view, uint32_t offset)
{
	return offset ? (const char *)view->base + offset : "";
}

/**
 * sbx_check_string - @offset is 0 or a string of at most @max bytes
 * Context: pure.
 */
int sbx_check_string(const struct sbx_view *view, uint32_t offset, size_t max)
{
	const struct sbx_section *pool = view->sections[SBX_SECTION_STRINGS];

	if (!offset)
		return 0;
	if (offset <= pool->offset || offset >= pool->offset + pool->size)
		return -EINVAL;
	/* the pool ends with NUL, so the string ends inside it */
	if (strlen((const char *)view->base + offset) > max)
		return -ENAMETOOLONG;
	return 0;
}

static int has_dot_dot(const char *path)
{
	const char *at = path;

	while ((at = strstr(at, "..")) != NULL) {
		int starts = at == path || at[-1] == '/';

		if (starts && (at[2] == '/' || at[2] == '\0'))
			return 1;
		at += 2;
	}
	return 0;
}

/**
 * sbx_check_slot_path - an absolute path, or a suffix of a slot's value
 * Context: pure. ".." is refused: the compiler wrote canonical paths.
 */
int sbx_check_slot_path(const struct sbx_view *view, uint32_t slot,
			uint32_t offset)
{
	const char *path;
	int err = sbx_check_string(view, offset, PATH_MAX - 1);

	if (err < 0)
		return err;
	if (slot >= SBX_SLOT_COUNT)
		return -EINVAL;
	path = sbx_string(view, offset);
	if (has_dot_dot(path))
		return -EINVAL;
	if (slot == SBX_SLOT_NONE)
		return path[0] == '/' ? 0 : -EINVAL;
	return path[0] == '/' || path[0] == '\0' ? 0 : -EINVAL;
}

/**
 * sbx_check_root - the root's kind, and the paths that this kind has
 * Context: pure.
 */
int sbx_check_root(const struct sbx_view *view,
		   const struct sbx_plan_core *core)
{
	int err;

	if (core->root_kind > SBX_ROOT_OVERLAY)
		return -EINVAL;
	if (core->root_upper_slot ? core->root_kind != SBX_ROOT_OVERLAY :
				    core->root_upper != 0)
		return -EINVAL;
	if (core->root_kind == SBX_ROOT_TMPFS)
		return 0;
	err = sbx_check_slot_path(view, core->root_source_slot,
				  core->root_source);
	if (!err && core->root_upper_slot)
		err = sbx_check_slot_path(view, core->root_upper_slot,
					  core->root_upper);
	return err;
}

/**
 * sbx_path - a slot's value and its suffix, joined
 * Context: parent or child.
 * Return: 0, -ENAMETOOLONG, or -ENOENT where the slot has no value.
 */
int sbx_path(const struct sbx_context *ctx, const struct sbx_view *view,
	     uint32_t slot, uint32_t offset, char out[PATH_MAX])
{
	const char *head = slot == SBX_SLOT_NONE ? "" : ctx->slots[slot];
	const char *tail = sbx_string(view, offset);
	size_t head_size = strlen(head);
	size_t tail_size = strlen(tail);

	if (slot != SBX_SLOT_NONE && !head_size)
		return -ENOENT;
	if (head_size + tail_size >= PATH_MAX)
		return -ENAMETOOLONG;
	/* "/" + "/x" is "/x" */
	if (head_size == 1 && tail_size)
		head_size = 0;
	memcpy(out, head, head_size);
	memcpy(out + head_size, tail, tail_size + 1);
	return 0;
}
