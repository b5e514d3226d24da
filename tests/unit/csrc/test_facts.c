// SPDX-License-Identifier: Apache-2.0
/* Unit tests of facts.c and checksum.c: each kind holds, and stops holding. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core.h"

static int checks;
static int failures;

static void expect(const char *name, long expected, long actual)
{
	checks++;
	if (expected == actual)
		return;
	failures++;
	printf("%s: expected %ld, got %ld\n", name, expected, actual);
}

static void put(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, size) != (ssize_t)size || close(fd) < 0)
		abort();
}

/* Whether a fact about @path holds now. */
static long holds(uint32_t kind, const char *path, uint64_t first,
		  uint64_t second, uint64_t third)
{
	struct sbx_fact fact = {
		.kind = kind,
		.value = { first, second, third },
	};

	return sbx_facts_hold(&fact, 1, path) == 1;
}

static void test_names(void)
{
	const struct sbx_fact two[] = {
		{ .kind = SBX_FACT_KIND, .value = { S_IFREG } },
		{ .kind = SBX_FACT_ABSENT },
	};

	put("file", "x", 1);
	expect("first that fails", 1, (long)sbx_facts_hold(two, 2, "file"));
	expect("none at all", 0, (long)sbx_facts_hold(two, 0, "file"));
	expect("absent", 1, holds(SBX_FACT_ABSENT, "no", 0, 0, 0));
	expect("below a file", 1, holds(SBX_FACT_ABSENT, "file/x", 0, 0, 0));
	expect("kind", 0, holds(SBX_FACT_KIND, "file", S_IFDIR, 0, 0));
	expect("a file of other times", 0, holds(SBX_FACT_FILE, "file", 0, 0, 0));
	expect("another inode", 0, holds(SBX_FACT_SAME, "file", 0, 0, 0));
	expect("owner", 1, holds(SBX_FACT_OWNER, "file", geteuid(), 0, 0));
	expect("access", 1, holds(SBX_FACT_ACCESS, "file", R_OK, 1, 0));
	expect("no access", 1, holds(SBX_FACT_ACCESS, "file", X_OK, 0, 0));
	expect("no link", 0, holds(SBX_FACT_LINK, "file", 0, 0, 0));
	if (symlink("file", "link") < 0)
		abort();
	expect("link", 1,
	       holds(SBX_FACT_LINK, "link", sbx_checksum("file", 4, 0), 4, 0));
	expect("no kind", 0, holds(0, "file", 0, 0, 0));
	expect("a kind of the future", 0, holds(11, "file", 0, 0, 0));
}

static void test_contents(void)
{
	static char text[100000];
	const char *row = "1 2 0:3 / /x rw - cgroup2 cgroup rw\n";
	size_t size = strlen(row);
	uint64_t sum;
	size_t at;

	memset(text, 'x', sizeof(text));
	put("long", text, sizeof(text));
	sum = sbx_checksum(text, 65536, 0);
	expect("first 64 KiB", 1, holds(SBX_FACT_CONTENT, "long", sum, 65536, 0));
	expect("all of it", 0,
	       holds(SBX_FACT_CONTENT, "long", sum, sizeof(text), 0));
	expect("one long line", 0, holds(SBX_FACT_CGROUP_MOUNTS, "long", 0, 0, 0));
	put("empty", text, 0);
	expect("no lines", 1, holds(SBX_FACT_CGROUP_MOUNTS, "empty", 0, 0, 0));
	for (at = 0, sum = 0; at + size <= sizeof(text); at += size) {
		memcpy(text + at, row, size);
		sum = sbx_checksum(row, size - 1, sum);
	}
	put("lines", text, at);
	expect("every line", 1,
	       holds(SBX_FACT_CGROUP_MOUNTS, "lines", sum, at / size, 0));
	put("lines", text, at - 1);
	expect("a cut line", 0,
	       holds(SBX_FACT_CGROUP_MOUNTS, "lines", sum, at / size, 0));
	expect("a directory", 0, holds(SBX_FACT_CONTENT, "/", 0, 0, 0));
}

static void test_probes(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		abort();
	expect("limit", 1,
	       holds(SBX_FACT_PROBE, "", SBX_PROBE_RLIMIT, RLIMIT_NOFILE,
		     limit.rlim_max));
	expect("another limit", 0,
	       holds(SBX_FACT_PROBE, "", SBX_PROBE_RLIMIT, RLIMIT_NOFILE,
		     limit.rlim_max - 1));
	expect("no resource", 0,
	       holds(SBX_FACT_PROBE, "", SBX_PROBE_RLIMIT, 9999, 0));
	expect("landlock", 1,
	       holds(SBX_FACT_PROBE, "", SBX_PROBE_LANDLOCK, 0,
		     (uint64_t)(int64_t)sbx_landlock_abi()));
	expect("no probe", 0, holds(SBX_FACT_PROBE, "", 99, 0, 0));
}

static void test_checksum_reads_what_it_is_given(void)
{
	char *text = malloc(13);	/* the sanitizer guards its end */

	if (!text)
		abort();
	memset(text, 'a', 13);
	expect("prefixes differ", 0,
	       sbx_checksum(text, 12, 0) == sbx_checksum(text, 13, 0));
	expect("seeds differ", 0,
	       sbx_checksum(text + 1, 12, 1) == sbx_checksum(text + 1, 12, 2));
	expect("any alignment", 1,
	       sbx_checksum(text, 12, 1) == sbx_checksum(text + 1, 12, 1));
	free(text);
}

int main(void)
{
	char folder[] = "/tmp/test_facts.XXXXXX";
	const char *const names[] = { "file", "link", "long", "empty", "lines" };
	size_t i;

	if (!mkdtemp(folder) || chdir(folder) < 0)
		abort();
	test_names();
	test_contents();
	test_probes();
	test_checksum_reads_what_it_is_given();
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(names[i]);
	if (chdir("/") < 0 || rmdir(folder) < 0)
		abort();
	printf("%d checks, %d failures\n", checks, failures);
	return failures ? 1 : 0;
}
