// SPDX-License-Identifier: Apache-2.0
/*
 * invocation.c - the invocation of one command, from the entry's template.
 *
 * The template has what the entry decided: slots, the directory inside, the
 * descriptors, the mounts of this caller. Added are argv, the environment and
 * the paths of the program. The string pool of the template is copied to the
 * end of the new blob, so its offsets move by one distance; what the result
 * means is checked by sbx_spawn(), like every invocation.
 */
#include <errno.h>
#include <string.h>

#include "invocation.h"

#define SECTIONS 8

struct part {
	uint32_t kind;
	uint32_t record;	/* bytes */
	const void *data;
	size_t size;
};

/**
 * sbx_draft_string - add a string to the pool, and its offset to @list
 */
void sbx_draft_string(struct sbx_draft *draft, struct sbx_text *list,
		      const char *string)
{
	uint32_t offset = string[0] ? (uint32_t)draft->pool.size : 0;

	if (offset)
		sbx_text_add(&draft->pool, string, strlen(string) + 1);
	sbx_text_add(list, &offset, sizeof(offset));
}

static int draft_open(struct sbx_draft *draft, const struct sbx_entry *entry)
{
	const struct sbx_view *view = &draft->template;
	const uint32_t *slots;
	struct sbx_error error;
	size_t size, count, i;
	const char *pool;
	int err;

	memset(draft, 0, sizeof(*draft));
	err = sbx_view_open(&draft->template, entry->template,
			    entry->template_size, SBX_INVOCATION_MAGIC,
			    SBX_INVOCATION_MAX, &error);
	if (err)
		return err;
	slots = sbx_records(view, SBX_SECTION_SLOTS, &count);
	if (count != SBX_SLOT_COUNT)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		if (sbx_check_string(view, slots[i], PATH_MAX - 1) < 0)
			return -EINVAL;
		draft->slots[i] = sbx_string(view, slots[i]);
	}
	pool = sbx_records(view, SBX_SECTION_STRINGS, &size);
	sbx_text_add(&draft->pool, pool, size);
	return draft->pool.failed ? -ENOMEM : 0;
}

static void draft_close(struct sbx_draft *draft)
{
	sbx_text_free(&draft->pool);
	sbx_text_free(&draft->argv);
	sbx_text_free(&draft->envp);
	sbx_text_free(&draft->programs);
}

static size_t parts_list(const struct sbx_draft *draft, struct part parts[])
{
	static const struct {
		uint32_t kind, record;
	} copied[] = {
		{ SBX_SECTION_INVOCATION, sizeof(struct sbx_invocation_core) },
		{ SBX_SECTION_SLOTS, sizeof(uint32_t) },
		{ SBX_SECTION_FDS, sizeof(struct sbx_fd_map) },
		{ SBX_SECTION_MOUNTS, sizeof(struct sbx_mount) },
	};
	const struct part own[] = {
		{ SBX_SECTION_ARGV, 4, draft->argv.data, draft->argv.size },
		{ SBX_SECTION_ENVP, 4, draft->envp.data, draft->envp.size },
		{ SBX_SECTION_PROGRAMS, 4, draft->programs.data,
		  draft->programs.size },
		{ SBX_SECTION_STRINGS, 1, draft->pool.data, draft->pool.size },
	};
	size_t used = 0, i;

	for (i = 0; i < sizeof(copied) / sizeof(copied[0]); i++) {
		size_t count;
		const void *data = sbx_records(&draft->template,
					       copied[i].kind, &count);

		if (count)
			parts[used++] = (struct part){
				copied[i].kind, copied[i].record, data,
				count * copied[i].record
			};
	}
	for (i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i].size)
			parts[used++] = own[i];
	return used;
}

static size_t aligned(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

static void layout(const struct sbx_draft *draft, struct sbx_text *made)
{
	struct part parts[SECTIONS];
	struct sbx_section table[SECTIONS];
	struct sbx_header header = {
		.magic = SBX_INVOCATION_MAGIC,
		.version = SBX_FORMAT_VERSION,
	};
	size_t count = parts_list(draft, parts);
	size_t at = sizeof(header) + count * sizeof(table[0]);
	size_t i;

	for (i = 0; i < count; i++) {
		table[i] = (struct sbx_section){
			.kind = parts[i].kind,
			.count = (uint32_t)(parts[i].size / parts[i].record),
			.offset = (uint32_t)at,
			.size = (uint32_t)parts[i].size,
		};
		at += aligned(parts[i].size);
	}
	header.size = (uint32_t)at;
	header.section_count = (uint32_t)count;
	sbx_text_add(made, &header, sizeof(header));
	sbx_text_add(made, table, count * sizeof(table[0]));
	for (i = 0; i < count; i++) {
		sbx_text_add(made, parts[i].data, parts[i].size);
		sbx_text_add(made, "\0\0\0\0\0\0\0",
			     aligned(parts[i].size) - parts[i].size);
	}
}

/* Move the offsets at @list from the pool at @from to that at @to. */
static void offsets_move(const struct sbx_view *view, uint32_t kind,
			 uint32_t from, uint32_t to)
{
	size_t count, i;
	uint32_t *list = (uint32_t *)(uintptr_t)sbx_records(view, kind, &count);

	for (i = 0; i < count; i++)
		if (list[i])
			list[i] += to - from;
}

static void offset_move(uint32_t *offset, uint32_t distance)
{
	if (*offset)
		*offset += distance;
}

/* An offset that was wrong is wrong afterwards, and sbx_spawn() finds it. */
static int strings_move(const struct sbx_draft *draft, struct sbx_text *made)
{
	struct sbx_view view;
	struct sbx_error error;
	struct sbx_invocation_core *core;
	struct sbx_mount *mounts;
	uint32_t from, to;
	size_t count, i;
	int err;

	err = sbx_view_open(&view, made->data, made->size,
			    SBX_INVOCATION_MAGIC, SBX_INVOCATION_MAX, &error);
	if (err)
		return err;
	from = draft->template.sections[SBX_SECTION_STRINGS]->offset;
	to = view.sections[SBX_SECTION_STRINGS]->offset;
	offsets_move(&view, SBX_SECTION_SLOTS, from, to);
	offsets_move(&view, SBX_SECTION_ARGV, 0, to);
	offsets_move(&view, SBX_SECTION_ENVP, 0, to);
	offsets_move(&view, SBX_SECTION_PROGRAMS, 0, to);
	core = (void *)(uintptr_t)sbx_records(&view, SBX_SECTION_INVOCATION,
					      &count);
	if (count != 1)
		return -EINVAL;
	offset_move(&core->cwd, to - from);
	mounts = (void *)(uintptr_t)sbx_records(&view, SBX_SECTION_MOUNTS,
						&count);
	for (i = 0; i < count; i++) {
		offset_move(&mounts[i].source, to - from);
		offset_move(&mounts[i].target, to - from);
		offset_move(&mounts[i].upper, to - from);
		offset_move(&mounts[i].data, to - from);
	}
	return 0;
}

/**
 * sbx_invocation_make - what runs now
 * @command: its words, at least one; ends with NULL
 * @caller: the caller's variables; ends with NULL
 * @made: filled; the caller frees it
 *
 * Return: 0, or a negative errno.
 */
int sbx_invocation_make(const struct sbx_entry *entry, char *const command[],
			char *const caller[], struct sbx_text *made)
{
	struct sbx_draft draft;
	struct sbx_view plan;
	struct sbx_error error;
	size_t i;
	int err;

	memset(made, 0, sizeof(*made));
	err = draft_open(&draft, entry);
	if (!err)
		err = sbx_view_open(&plan, entry->plan, entry->plan_size,
				    SBX_PLAN_MAGIC, SBX_PLAN_MAX, &error);
	for (i = 0; !err && command[i]; i++)
		sbx_draft_string(&draft, &draft.argv, command[i]);
	if (!err)
		err = sbx_environment_make(&draft, &plan, caller, command[0]);
	if (!err && (draft.pool.failed || draft.argv.failed ||
		     draft.envp.failed || draft.programs.failed ||
		     draft.pool.size > SBX_INVOCATION_MAX))
		err = -ENOMEM;
	if (!err)
		layout(&draft, made);
	if (!err)
		err = made->failed ? -ENOMEM : strings_move(&draft, made);
	draft_close(&draft);
	return err;
}
