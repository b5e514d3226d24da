// SPDX-License-Identifier: Apache-2.0
/*
 * final.c - the invocation as it runs: with what exists only now.
 *
 * Runs in the supervisor before the clone, on a copy of a blob that passed
 * its checker. The pipes of the relay take the place of descriptors, and the
 * covers of placeholders that could not be made are left out. Sections only
 * ever get shorter, so the copy passes the checker as well.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervise.h"

/**
 * sbx_final_copy - a copy to change
 * Return: to be freed, or NULL.
 */
void *sbx_final_copy(const void *invocation, size_t size)
{
	void *copy = malloc(size);

	return copy ? memcpy(copy, invocation, size) : NULL;
}

static struct sbx_section *section_find(void *blob, uint32_t kind)
{
	struct sbx_header *header = blob;
	struct sbx_section *table = (struct sbx_section *)(header + 1);
	uint32_t i;

	for (i = 0; i < header->section_count; i++)
		if (table[i].kind == kind)
			return &table[i];
	return NULL;
}

/**
 * sbx_final_fds - the descriptors of a copy
 * Return: @count of them, or NULL for none.
 */
struct sbx_fd_map *sbx_final_fds(void *invocation, size_t *count)
{
	struct sbx_section *section =
		section_find(invocation, SBX_SECTION_FDS);

	*count = section ? section->count : 0;
	return *count ? (struct sbx_fd_map *)((char *)invocation +
					      section->offset) : NULL;
}

/**
 * sbx_final_hold - have the child wait: for its move to a group, for facts
 * @invocation: a copy
 *
 * Return: 0 or -EINVAL.
 */
int sbx_final_hold(void *invocation)
{
	struct sbx_section *section =
		section_find(invocation, SBX_SECTION_INVOCATION);
	struct sbx_invocation_core *core;

	if (!section)
		return -EINVAL;
	core = (struct sbx_invocation_core *)((char *)invocation +
					      section->offset);
	core->flags |= SBX_INVOCATION_HOLD;
	return 0;
}

static int is_missing(const char *target, const struct sbx_view *entry,
		      const struct sbx_placeholders *placeholders)
{
	size_t count, i;
	const struct sbx_placeholder *records =
		sbx_records(entry, SBX_SECTION_ENTRY_PLACEHOLDERS, &count);

	for (i = 0; i < count; i++)
		if (!placeholders->made[i].is_there &&
		    !strcmp(sbx_string(entry, records[i].inside), target))
			return 1;
	return 0;
}

/**
 * sbx_final_drop - leave out the covers of what could not be made
 * @invocation: a copy
 */
void sbx_final_drop(void *invocation, const struct sbx_view *entry,
		    const struct sbx_placeholders *placeholders)
{
	struct sbx_section *section =
		section_find(invocation, SBX_SECTION_MOUNTS);
	struct sbx_mount *mounts;
	uint32_t kept = 0;
	uint32_t i;

	if (!section || !placeholders->count)
		return;
	mounts = (struct sbx_mount *)((char *)invocation + section->offset);
	for (i = 0; i < section->count; i++) {
		const char *target = (const char *)invocation +
				     mounts[i].target;

		if (!is_missing(target, entry, placeholders))
			mounts[kept++] = mounts[i];
	}
	section->count = kept;
	section->size = kept * (uint32_t)sizeof(*mounts);
}
