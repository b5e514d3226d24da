// SPDX-License-Identifier: Apache-2.0
/*
 * idmaps.c - the extents of the id maps: checked, looked up, written as text.
 *
 * Pure: no system call, no allocation. Linux takes a whole map in one write of
 * less than a page (user_namespaces(7)), hence SBX_EXTENTS_MAX.
 */
#include <errno.h>

#include "core.h"
#include "sys.h"

static int overlap(uint32_t a, uint32_t b, uint64_t a_size, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static int extent_check(const struct sbx_id_map *maps, size_t index)
{
	const struct sbx_id_map *map = &maps[index];
	uint64_t size = map->count;
	size_t i;

	if (map->kind > SBX_ID_GID || !size || map->inside + size > SBX_NONE ||
	    map->outside + size > SBX_NONE)
		return -EINVAL;
	for (i = 0; i < index; i++)
		if (maps[i].kind == map->kind &&
		    (overlap(maps[i].inside, map->inside, maps[i].count,
			     size) ||
		     overlap(maps[i].outside, map->outside, maps[i].count,
			     size)))
			return -EINVAL;
	return 0;
}

/**
 * sbx_check_id_maps - extents in range, disjoint, some of each kind
 * Context: any; part of sbx_plan_check(), after the CORE record.
 * Return: 0, or a negative errno with *error filled in.
 */
int sbx_check_id_maps(const struct sbx_view *view, struct sbx_error *error)
{
	size_t count, i;
	size_t of_kind[2] = { 0, 0 };
	const struct sbx_plan_core *core;
	const struct sbx_id_map *maps;
	int err;

	core = sbx_records(view, SBX_SECTION_CORE, &count);
	maps = sbx_records(view, SBX_SECTION_IDMAPS, &count);
	if (count > 2 * (size_t)SBX_EXTENTS_MAX)
		return sbx_check_fail(error, SBX_SECTION_IDMAPS, E2BIG);
	for (i = 0; i < count; i++) {
		error->op = (int32_t)i;
		err = extent_check(maps, i);
		if (!err && ++of_kind[maps[i].kind] > SBX_EXTENTS_MAX)
			err = -E2BIG;
		if (err)
			return sbx_check_fail(error, SBX_SECTION_IDMAPS, -err);
	}
	error->op = -1;
	if (core->namespaces & SBX_CLONE_NEWUSER ?
	    !of_kind[SBX_ID_UID] || !of_kind[SBX_ID_GID] : count != 0)
		return sbx_check_fail(error, SBX_SECTION_IDMAPS, EINVAL);
	return 0;
}

/**
 * sbx_id_outside - the outside id of the command's own uid or gid
 * Context: any.
 * Return: the id, or SBX_NONE where the plan does not map it.
 */
uint32_t sbx_id_outside(const struct sbx_context *ctx, enum sbx_id_kind kind)
{
	uint32_t own = kind == SBX_ID_UID ? ctx->core->uid : ctx->core->gid;
	size_t count, i;
	const struct sbx_id_map *maps =
		sbx_records(&ctx->plan, SBX_SECTION_IDMAPS, &count);

	for (i = 0; i < count; i++)
		if (maps[i].kind == (uint32_t)kind && own >= maps[i].inside &&
		    own - maps[i].inside < maps[i].count)
			return maps[i].outside + (own - maps[i].inside);
	return SBX_NONE;
}

/**
 * sbx_id_map_line - one extent as a line of uid_map or gid_map
 * Context: any.
 * Return: its length; @line is NUL-terminated.
 */
size_t sbx_id_map_line(const struct sbx_id_map *map, char line[SBX_MAP_LINE])
{
	size_t at = sbx_format_u64(map->inside, 10, line);

	line[at++] = ' ';
	at += sbx_format_u64(map->outside, 10, line + at);
	line[at++] = ' ';
	at += sbx_format_u64(map->count, 10, line + at);
	line[at++] = '\n';
	line[at] = '\0';
	return at;
}
