// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_plan.c - libFuzzer target for the checkers of plan and invocation.
 *
 * The promise under attack: a blob that passed its checker can be walked
 * without a further check. So an accepted blob is walked here as the child
 * walks it, every string, path and byte, and a sanitizer watches. Each input
 * is copied into an allocation of its exact size.
 * With SBX_FUZZ_FILES the program has a main() that runs over the files it is
 * given, for compilers without libFuzzer and for replaying a finding.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

static volatile size_t sink;

static void read_string(const struct sbx_view *view, uint32_t offset)
{
	sink += strlen(sbx_string(view, offset));
}

static void read_path(const struct sbx_view *view, uint32_t slot,
		      uint32_t offset)
{
	struct sbx_context ctx = {
		.slots = { "", "/work", "/home/x", "/tmp", "", "/state" }
	};
	char out[PATH_MAX];

	if (sbx_path(&ctx, view, slot, offset, out) == 0)
		sink += strlen(out);
}

static void walk_mounts(const struct sbx_view *view)
{
	size_t count, i, j;
	const struct sbx_mount *ops =
		sbx_records(view, SBX_SECTION_MOUNTS, &count);

	for (i = 0; i < count; i++) {
		read_path(view, ops[i].target_slot, ops[i].target);
		if (sbx_mount_has_source(&ops[i]))
			read_path(view, ops[i].source_slot, ops[i].source);
		if (ops[i].upper_slot)
			read_path(view, ops[i].upper_slot, ops[i].upper);
		for (j = 0; j < ops[i].data_size; j++)
			sink += view->base[ops[i].data + j];
		if (ops[i].data_size && ops[i].kind != SBX_MOUNT_FILE)
			read_string(view, ops[i].data);
	}
}

static void walk_landlock(const struct sbx_view *view)
{
	size_t count, i;
	const struct sbx_landlock_rule *rules =
		sbx_records(view, SBX_SECTION_LANDLOCK, &count);

	for (i = 0; i < count; i++)
		if (rules[i].kind == SBX_LANDLOCK_PATH)
			read_path(view, rules[i].path_slot, rules[i].path);
}

static void walk_filters(const struct sbx_view *view)
{
	size_t code_count, count, i, j;
	const uint64_t *code = sbx_records(view, SBX_SECTION_CODE, &code_count);
	const struct sbx_filter *filters =
		sbx_records(view, SBX_SECTION_FILTERS, &count);

	for (i = 0; i < count; i++)
		for (j = 0; j < filters[i].count; j++)
			sink += code[filters[i].first + j];
}

static void walk_plan(const struct sbx_view *view)
{
	size_t count;
	const struct sbx_plan_core *core =
		sbx_records(view, SBX_SECTION_CORE, &count);

	read_string(view, core->hostname);
	if (core->root_kind == SBX_ROOT_BIND)
		read_path(view, core->root_source_slot, core->root_source);
	walk_mounts(view);
	walk_landlock(view);
	walk_filters(view);
}

static void walk_strings(const struct sbx_view *view, uint32_t kind)
{
	size_t count, i;
	const uint32_t *offsets = sbx_records(view, kind, &count);

	for (i = 0; i < count; i++)
		read_string(view, offsets[i]);
}

static void walk_invocation(const struct sbx_view *view)
{
	size_t count;
	const struct sbx_invocation_core *core =
		sbx_records(view, SBX_SECTION_INVOCATION, &count);

	read_path(view, SBX_SLOT_NONE, core->cwd);
	walk_strings(view, SBX_SECTION_ARGV);
	walk_strings(view, SBX_SECTION_ENVP);
	walk_strings(view, SBX_SECTION_PROGRAMS);
	walk_strings(view, SBX_SECTION_SLOTS);
	walk_mounts(view);
}

/* What a request may be is less: its sources are indices of what came with it. */
static void walk_request(const struct sbx_view *view, const void *blob,
			 size_t size)
{
	const uint32_t fd_count = 3;
	struct sbx_error error;
	size_t count, i;
	const struct sbx_fd_map *fds =
		sbx_records(view, SBX_SECTION_FDS, &count);

	if (sbx_request_check(blob, size, fd_count, &error) < 0)
		return;
	for (i = 0; i < count; i++)
		if ((uint32_t)fds[i].source >= fd_count)
			abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	void *copy = malloc(size ? size : 1);
	struct sbx_error error;
	struct sbx_view view;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (sbx_plan_check(copy, size, &error) == 0) {
		if (sbx_view_open(&view, copy, size, SBX_PLAN_MAGIC,
				  SBX_PLAN_MAX, &error) < 0)
			abort();
		walk_plan(&view);
	}
	if (sbx_invocation_check(copy, size, &error) == 0) {
		if (sbx_view_open(&view, copy, size, SBX_INVOCATION_MAGIC,
				  SBX_INVOCATION_MAX, &error) < 0)
			abort();
		walk_invocation(&view);
		walk_request(&view, copy, size);
	}
	free(copy);
	return 0;
}

#ifdef SBX_FUZZ_FILES
static unsigned char buffer[SBX_INVOCATION_MAX];

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (!file) {
			perror(argv[i]);
			return 2;
		}
		size = fread(buffer, 1, sizeof(buffer), file);
		fclose(file);
		LLVMFuzzerTestOneInput(buffer, size);
	}
	printf("%d inputs walked\n", argc - 1);
	return 0;
}
#endif
