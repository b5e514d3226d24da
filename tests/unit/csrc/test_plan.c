// SPDX-License-Identifier: Apache-2.0
/*
 * test_plan.c - unit tests of the checkers in csrc/plan.c and csrc/view.c.
 *
 * Each case builds a valid blob, breaks one thing and expects one errno at one
 * place. Every check runs on an exact copy in its own allocation, so that a
 * sanitizer sees a read of one byte too many. Prints one line for each failure
 * and a count; exit code 1 on failure.
 */
#include <errno.h>

#include "blob.h"

static int failures;
static int checks;

static void expect(const char *name, int expected, int actual)
{
	checks++;
	if (expected == actual)
		return;
	failures++;
	printf("FAIL %s: expected %d, got %d\n", name, expected, actual);
}

static int check_bytes(const void *bytes, size_t size, int is_plan,
		       struct sbx_error *error)
{
	void *copy = blob_need(malloc(size ? size : 1));
	int err;

	memcpy(copy, bytes, size);
	err = is_plan ? sbx_plan_check(copy, size, error) :
			sbx_invocation_check(copy, size, error);
	free(copy);
	return err;
}

/* What the section tests change; set by plan_new(). */
struct parts {
	struct sbx_plan_core *core;
	struct sbx_id_map *maps;
	struct sbx_mount *mounts;
	struct sbx_rlimit *rlimits;
	struct sbx_landlock_rule *landlock;
	struct sbx_filter *filters;
	struct sbx_env_rule *env;
	struct sbx_protect *protect;
	struct sbx_supervise *supervise;
};

static struct blob *plan_new(struct parts *parts)
{
	struct blob *blob = blob_new(10);
	uint64_t *code;

	parts->core = blob_section(blob, SBX_SECTION_CORE, 1,
				   sizeof(*parts->core));
	parts->core->flags = SBX_PLAN_LOOPBACK | SBX_PLAN_NO_NEW_PRIVS;
	parts->core->namespaces = 0x10000000ULL | 0x20000ULL | 0x20000000ULL |
				  0x40000000ULL | 0x04000000ULL;
	parts->core->hostname = blob_string(blob, "sandbox");
	parts->core->umask_octal = 022;
	parts->core->proof_nr = -1;
	parts->maps = blob_section(blob, SBX_SECTION_IDMAPS, 2,
				   sizeof(*parts->maps));
	parts->maps[0] = (struct sbx_id_map){ SBX_ID_UID, 1000, 1000, 1 };
	parts->maps[1] = (struct sbx_id_map){ SBX_ID_GID, 1000, 1000, 1 };
	parts->mounts = blob_section(blob, SBX_SECTION_MOUNTS, 2,
				     sizeof(*parts->mounts));
	parts->mounts[0].kind = SBX_MOUNT_BIND;
	parts->mounts[0].source = blob_string(blob, "/usr");
	parts->mounts[0].target = parts->mounts[0].source;
	parts->mounts[1].kind = SBX_MOUNT_SYMLINK;
	parts->mounts[1].target = blob_string(blob, "/bin");
	parts->mounts[1].data = blob_string(blob, "usr/bin");
	parts->mounts[1].data_size = 7;
	parts->rlimits = blob_section(blob, SBX_SECTION_RLIMITS, 1,
				      sizeof(*parts->rlimits));
	parts->rlimits[0].resource = 7;
	parts->rlimits[0].soft = 256;
	parts->rlimits[0].hard = 256;
	parts->landlock = blob_section(blob, SBX_SECTION_LANDLOCK, 1,
				       sizeof(*parts->landlock));
	parts->landlock[0].kind = SBX_LANDLOCK_PATH;
	parts->landlock[0].access = 1;
	parts->landlock[0].path = blob_string(blob, "/usr");
	parts->filters = blob_section(blob, SBX_SECTION_FILTERS, 1,
				      sizeof(*parts->filters));
	parts->filters[0].count = 1;
	code = blob_section(blob, SBX_SECTION_CODE, 1, sizeof(*code));
	code[0] = 0x7fff000000000006ULL;
	parts->env = blob_section(blob, SBX_SECTION_ENV, 1,
				  sizeof(*parts->env));
	parts->env[0].kind = SBX_ENV_ALLOW;
	parts->env[0].name = blob_string(blob, "TERM");
	parts->protect = blob_section(blob, SBX_SECTION_PROTECT, 1,
				      sizeof(*parts->protect));
	parts->protect[0].kind = SBX_PROTECT_HIDDEN;
	parts->protect[0].path_slot = SBX_SLOT_CWD;
	parts->protect[0].path = blob_string(blob, "/.git/hooks");
	parts->supervise = blob_section(blob, SBX_SECTION_SUPERVISE, 1,
					sizeof(*parts->supervise));
	parts->supervise[0].key = SBX_SUPERVISE_WALL_MS;
	return blob;
}

/* One broken record: what is changed, and where the defect is reported. */
#define BREAK(name, section, statement)                                   \
	do {                                                              \
		struct parts p;                                           \
		struct blob *blob = plan_new(&p);                         \
		struct sbx_error error;                                   \
		statement;                                                \
		blob_finish(blob, SBX_PLAN_MAGIC);                        \
		expect(name, -EINVAL,                                     \
		       check_bytes(blob->bytes, blob->size, 1, &error));  \
		expect(name ": section", section, error.detail);          \
		blob_free(blob);                                          \
	} while (0)

static void test_valid_plan_is_accepted(void)
{
	struct parts p;
	struct blob *blob = plan_new(&p);
	struct sbx_error error;
	size_t size;

	blob_finish(blob, SBX_PLAN_MAGIC);
	expect("valid", 0, check_bytes(blob->bytes, blob->size, 1, &error));
	expect("as invocation", -EINVAL,
	       check_bytes(blob->bytes, blob->size, 0, &error));
	for (size = 0; size < blob->size; size++)
		expect("truncated", -EINVAL,
		       check_bytes(blob->bytes, size, 1, &error));
	blob_free(blob);
}

static void test_frame_is_checked(void)
{
	struct parts p;
	struct blob *blob = plan_new(&p);
	struct sbx_error error;
	unsigned char *shifted;

	blob_finish(blob, SBX_PLAN_MAGIC);
	blob_header(blob)->version++;
	expect("version", -EPROTO,
	       check_bytes(blob->bytes, blob->size, 1, &error));
	blob_header(blob)->version--;
	blob_header(blob)->section_count = 33;
	expect("sections", -EINVAL,
	       check_bytes(blob->bytes, blob->size, 1, &error));
	blob_header(blob)->section_count = 0xffffffff;
	expect("many sections", -EINVAL,
	       check_bytes(blob->bytes, blob->size, 1, &error));
	blob_header(blob)->section_count = 11;
	expect("too large", -E2BIG,
	       sbx_plan_check(blob->bytes, SBX_PLAN_MAX + 1, &error));
	expect("no blob", -EINVAL, sbx_plan_check(NULL, 64, &error));
	shifted = blob_need(malloc(blob->size + 4));
	memcpy(shifted + 4, blob->bytes, blob->size);
	expect("unaligned", -EINVAL,
	       sbx_plan_check(shifted + 4, blob->size, &error));
	free(shifted);
	blob_free(blob);
}

/* Change one field of the table entry @index of a finished plan. */
#define BREAK_TABLE(name, index, statement)                               \
	do {                                                              \
		struct parts p;                                           \
		struct blob *blob = plan_new(&p);                         \
		struct sbx_error error;                                   \
		struct sbx_section *entry;                                \
		blob_finish(blob, SBX_PLAN_MAGIC);                        \
		entry = &blob_table(blob)[index];                         \
		statement;                                                \
		expect(name, -EINVAL,                                     \
		       check_bytes(blob->bytes, blob->size, 1, &error));  \
		blob_free(blob);                                          \
	} while (0)

static void test_section_table_is_checked(void)
{
	BREAK_TABLE("unaligned section", 1, entry->offset += 4);
	BREAK_TABLE("section over the table", 1, entry->offset = 0);
	BREAK_TABLE("section outside", 1, entry->offset = 0xfffffff8);
	BREAK_TABLE("section too long", 1, entry->size = 0xffffffff);
	BREAK_TABLE("count and size differ", 2, entry->count++);
	BREAK_TABLE("count times size overflows", 2, entry->count = 0x10000002);
	BREAK_TABLE("unknown kind", 2, entry->kind = 31);
	BREAK_TABLE("kind outside the table", 2, entry->kind = 0xffffffff);
	BREAK_TABLE("kind twice", 2, entry->kind = SBX_SECTION_CORE);
	BREAK_TABLE("kind of an invocation", 9, entry->kind = SBX_SECTION_ARGV);
	BREAK_TABLE("no strings", 0, entry->kind = SBX_SECTION_NOTES);
	BREAK_TABLE("pool without first NUL", 0,
		    blob->bytes[entry->offset] = 'x');
	BREAK_TABLE("pool without last NUL", 0,
		    blob->bytes[entry->offset + entry->size - 1] = 'x');
	BREAK_TABLE("empty pool", 0, entry->size = entry->count = 0);
}

static void test_core_is_checked(void)
{
	BREAK("unknown flag", SBX_SECTION_CORE, p.core->flags = 0x100);
	BREAK("unknown namespace", SBX_SECTION_CORE, p.core->namespaces |= 1);
	BREAK("no user namespace", SBX_SECTION_CORE,
	      p.core->namespaces &= ~0x10000000ULL);
	BREAK("loopback without net", SBX_SECTION_CORE,
	      p.core->namespaces &= ~0x40000000ULL);
	BREAK("host name without uts", SBX_SECTION_CORE,
	      p.core->namespaces &= ~0x04000000ULL);
	BREAK("root kind", SBX_SECTION_CORE, p.core->root_kind = 3);
	BREAK("upper without overlay", SBX_SECTION_CORE,
	      p.core->root_upper_slot = SBX_SLOT_STATE);
	BREAK("overlay without source", SBX_SECTION_CORE,
	      p.core->root_kind = SBX_ROOT_OVERLAY);
	BREAK("root bind without source", SBX_SECTION_CORE,
	      p.core->root_kind = SBX_ROOT_BIND);
	BREAK("uid -1", SBX_SECTION_CORE, p.core->uid = SBX_NONE);
	BREAK("umask", SBX_SECTION_CORE, p.core->umask_octal = 01000);
	BREAK("errno of the proof", SBX_SECTION_CORE,
	      p.core->proof_errno = 4096);
	BREAK("securebits", SBX_SECTION_CORE, p.core->securebits = 1 << 16);
	BREAK("string outside", SBX_SECTION_CORE, p.core->hostname = 60000);
	BREAK("string in the header", SBX_SECTION_CORE, p.core->hostname = 4);
	BREAK("map of a third kind", SBX_SECTION_IDMAPS, p.maps[0].kind = 2);
	BREAK("empty map", SBX_SECTION_IDMAPS, p.maps[0].count = 0);
	BREAK("map wraps", SBX_SECTION_IDMAPS, p.maps[1].inside = 0xfffffffe;
	      p.maps[1].count = 2);
	BREAK("two equal uid maps", SBX_SECTION_IDMAPS,
	      p.maps[1].kind = SBX_ID_UID);
	BREAK("no gid map", SBX_SECTION_IDMAPS, p.maps[1].kind = SBX_ID_UID;
	      p.maps[1].inside = 0; p.maps[1].outside = 0);
	BREAK("maps overlap outside", SBX_SECTION_IDMAPS,
	      p.maps[1].kind = SBX_ID_UID; p.maps[1].inside = 0;
	      p.maps[0].count = 2; p.maps[1].outside = 1001);
}

static void test_mounts_are_checked(void)
{
	BREAK("kind 0", SBX_SECTION_MOUNTS, p.mounts[0].kind = 0);
	BREAK("kind 13", SBX_SECTION_MOUNTS, p.mounts[0].kind = 13);
	BREAK("flags", SBX_SECTION_MOUNTS, p.mounts[0].flags = 0x20);
	BREAK("attributes", SBX_SECTION_MOUNTS, p.mounts[0].attrs = 1ULL << 40);
	BREAK("mode", SBX_SECTION_MOUNTS, p.mounts[0].mode_octal = 010000);
	BREAK("no target", SBX_SECTION_MOUNTS, p.mounts[0].target = 0);
	BREAK("no source", SBX_SECTION_MOUNTS, p.mounts[0].source = 0);
	BREAK("slot", SBX_SECTION_MOUNTS, p.mounts[0].target_slot = 6);
	BREAK("root as target", SBX_SECTION_MOUNTS,
	      p.mounts[0].target = blob_string(blob, "/"));
	BREAK("relative target", SBX_SECTION_MOUNTS,
	      p.mounts[0].target = blob_string(blob, "usr"));
	BREAK("target upwards", SBX_SECTION_MOUNTS,
	      p.mounts[0].target = blob_string(blob, "/usr/../etc"));
	BREAK("source upwards", SBX_SECTION_MOUNTS,
	      p.mounts[0].source = blob_string(blob, "/.."));
	BREAK("link to nothing", SBX_SECTION_MOUNTS, p.mounts[1].data_size = 0);
	BREAK("text longer than it says", SBX_SECTION_MOUNTS,
	      p.mounts[1].data_size = 3);
	BREAK("data outside", SBX_SECTION_MOUNTS,
	      p.mounts[1].data_size = 0xffffffff);
	BREAK("data nowhere", SBX_SECTION_MOUNTS, p.mounts[1].data = 0);
	BREAK("upper slot", SBX_SECTION_MOUNTS, p.mounts[0].upper_slot = 9);
}

static void test_other_records_are_checked(void)
{
	BREAK("resource", SBX_SECTION_RLIMITS, p.rlimits[0].resource = 16);
	BREAK("soft over hard", SBX_SECTION_RLIMITS, p.rlimits[0].soft = 257);
	BREAK("rule kind", SBX_SECTION_LANDLOCK, p.landlock[0].kind = 3);
	BREAK("rule flags", SBX_SECTION_LANDLOCK, p.landlock[0].flags = 2);
	BREAK("rule without rights", SBX_SECTION_LANDLOCK,
	      p.landlock[0].access = 0);
	BREAK("port", SBX_SECTION_LANDLOCK,
	      p.landlock[0].kind = SBX_LANDLOCK_PORT;
	      p.landlock[0].port = 65536);
	BREAK("empty filter", SBX_SECTION_FILTERS, p.filters[0].count = 0);
	BREAK("filter beyond the code", SBX_SECTION_FILTERS,
	      p.filters[0].count = 2);
	BREAK("filter wraps", SBX_SECTION_FILTERS,
	      p.filters[0].first = 0xffffffff);
	BREAK("filter flags", SBX_SECTION_FILTERS, p.filters[0].flags = 1);
	BREAK("a listener required of nobody", SBX_SECTION_FILTERS,
	      p.filters[0].flags = SBX_FILTER_NOTIFY_REQUIRED);
	BREAK("environment kind", SBX_SECTION_ENV, p.env[0].kind = 3);
	BREAK("environment name", SBX_SECTION_ENV, p.env[0].name = 0);
	BREAK("environment slot", SBX_SECTION_ENV, p.env[0].value_slot = 6);
	BREAK("protection kind", SBX_SECTION_PROTECT, p.protect[0].kind = 0);
	BREAK("protection slot", SBX_SECTION_PROTECT,
	      p.protect[0].path_slot = 6);
	BREAK("limit key", SBX_SECTION_SUPERVISE, p.supervise[0].key = 0);
}

static struct blob *invocation_new(struct sbx_fd_map **fds, uint32_t **slots,
				   struct sbx_invocation_core **core)
{
	struct blob *blob = blob_new(6);
	uint32_t *argv, *envp, *programs;

	*core = blob_section(blob, SBX_SECTION_INVOCATION, 1, sizeof(**core));
	(*core)->cwd = blob_string(blob, "/tmp");
	(*core)->terminal = -1;
	argv = blob_section(blob, SBX_SECTION_ARGV, 2, sizeof(*argv));
	argv[0] = blob_string(blob, "true");
	argv[1] = blob_string(blob, "\xff\xfe not UTF-8");
	envp = blob_section(blob, SBX_SECTION_ENVP, 1, sizeof(*envp));
	envp[0] = blob_string(blob, "TERM=dumb");
	programs = blob_section(blob, SBX_SECTION_PROGRAMS, 1,
				sizeof(*programs));
	programs[0] = blob_string(blob, "/usr/bin/true");
	*fds = blob_section(blob, SBX_SECTION_FDS, 2, sizeof(**fds));
	(*fds)[1].source = (*fds)[1].target = 1;
	*slots = blob_section(blob, SBX_SECTION_SLOTS, SBX_SLOT_COUNT,
			      sizeof(**slots));
	(*slots)[SBX_SLOT_CWD] = blob_string(blob, "/tmp");
	return blob;
}

#define BREAK_RUN(name, expected, statement)                              \
	do {                                                              \
		struct sbx_fd_map *fds;                                   \
		uint32_t *slots;                                          \
		struct sbx_invocation_core *core;                         \
		struct blob *blob = invocation_new(&fds, &slots, &core);  \
		struct sbx_error error;                                   \
		statement;                                                \
		blob_finish(blob, SBX_INVOCATION_MAGIC);                  \
		expect(name, expected,                                    \
		       check_bytes(blob->bytes, blob->size, 0, &error));  \
		blob_free(blob);                                          \
	} while (0)

static void test_invocation_is_checked(void)
{
	BREAK_RUN("valid invocation", 0, core->flags = SBX_INVOCATION_BARRIER);
	BREAK_RUN("run flags", -EINVAL, core->flags = 0x100);
	BREAK_RUN("maps outside", -EINVAL,
		  core->flags = SBX_INVOCATION_MAPS_OUTSIDE);
	BREAK_RUN("requests", -EINVAL, core->requests = 3);
	BREAK_RUN("serves", 0, core->flags = SBX_INVOCATION_SERVE;
		  core->requests = 3);
	BREAK_RUN("serves from a standard stream", -EINVAL,
		  core->flags = SBX_INVOCATION_SERVE; core->requests = 2);
	BREAK_RUN("serves from nowhere", -EINVAL,
		  core->flags = SBX_INVOCATION_SERVE);
	BREAK_RUN("once, but serves not", -EINVAL,
		  core->flags = SBX_INVOCATION_ONCE);
	BREAK_RUN("filter first, but serves not", -EINVAL,
		  core->flags = SBX_INVOCATION_FILTER_FIRST);
	BREAK_RUN("serves behind a barrier", -EINVAL,
		  core->flags = SBX_INVOCATION_SERVE | SBX_INVOCATION_BARRIER;
		  core->requests = 3);
	BREAK_RUN("serves a terminal", -EINVAL,
		  core->flags = SBX_INVOCATION_SERVE | SBX_INVOCATION_TERMINAL;
		  core->requests = 3; core->terminal = 0);
	BREAK_RUN("a terminal", 0, core->flags = SBX_INVOCATION_TERMINAL;
		  core->terminal = 0; fds[0].source = SBX_FD_TERMINAL);
	BREAK_RUN("terminal of nobody", -EINVAL,
		  core->flags = SBX_INVOCATION_TERMINAL);
	BREAK_RUN("terminal not asked for", -EINVAL, core->terminal = 0);
	BREAK_RUN("terminal as a source", -EINVAL,
		  fds[0].source = SBX_FD_TERMINAL);
	BREAK_RUN("foreground of nothing", -EINVAL,
		  core->flags = SBX_INVOCATION_FOREGROUND);
	BREAK_RUN("relative cwd", -EINVAL,
		  core->cwd = blob_string(blob, "tmp"));
	BREAK_RUN("no cwd", -EINVAL, core->cwd = 0);
	BREAK_RUN("negative source", -EINVAL, fds[0].source = -1);
	BREAK_RUN("target too high", -EINVAL, fds[0].target = 1024);
	BREAK_RUN("target twice", -EEXIST, fds[0].target = 1);
	BREAK_RUN("value of no slot", -EINVAL,
		  slots[SBX_SLOT_NONE] = slots[SBX_SLOT_CWD]);
	BREAK_RUN("relative slot", -EINVAL,
		  slots[SBX_SLOT_HOME] = blob_string(blob, "home"));
	BREAK_RUN("no argv", -EINVAL, blob->sections[1].count = 0;
		  blob->sections[1].size = 0);
	BREAK_RUN("no program", -EINVAL, blob->sections[3].count = 0;
		  blob->sections[3].size = 0);
	BREAK_RUN("slots missing", -EINVAL, blob->sections[5].count = 5;
		  blob->sections[5].size = 20);
}

static void test_paths_are_joined(void)
{
	struct sbx_context ctx = {
		.slots = { "", "/", "/home/x", "", "", "" }
	};
	struct parts p;
	struct blob *blob = plan_new(&p);
	uint32_t hooks = blob_string(blob, "/.git");
	struct sbx_error error;
	struct sbx_view view;
	char out[PATH_MAX];

	blob_finish(blob, SBX_PLAN_MAGIC);
	expect("open", 0, sbx_view_open(&view, blob->bytes, blob->size,
					SBX_PLAN_MAGIC, SBX_PLAN_MAX, &error));
	expect("join", 0, sbx_path(&ctx, &view, SBX_SLOT_HOME, hooks, out));
	expect("joined", 0, strcmp(out, "/home/x/.git"));
	expect("join /", 0, sbx_path(&ctx, &view, SBX_SLOT_CWD, hooks, out));
	expect("joined to /", 0, strcmp(out, "/.git"));
	expect("slot alone", 0, sbx_path(&ctx, &view, SBX_SLOT_CWD, 0, out));
	expect("is /", 0, strcmp(out, "/"));
	expect("no value", -ENOENT,
	       sbx_path(&ctx, &view, SBX_SLOT_TMP, hooks, out));
	blob_free(blob);
}

static void test_numbers_are_written(void)
{
	char out[24];

	expect("size of 0", 1, (int)sbx_format_u64(0, 10, out));
	expect("0", 0, strcmp(out, "0"));
	sbx_format_u64(UINT64_MAX, 10, out);
	expect("largest", 0, strcmp(out, "18446744073709551615"));
	sbx_format_u64(UINT64_MAX, 8, out);
	expect("octal", 0, strcmp(out, "1777777777777777777777"));
}

int main(void)
{
	test_valid_plan_is_accepted();
	test_frame_is_checked();
	test_section_table_is_checked();
	test_core_is_checked();
	test_mounts_are_checked();
	test_other_records_are_checked();
	test_invocation_is_checked();
	test_paths_are_joined();
	test_numbers_are_written();
	printf("%d checks, %d failures\n", checks, failures);
	return failures ? 1 : 0;
}
