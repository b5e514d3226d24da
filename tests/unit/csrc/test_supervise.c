// SPDX-License-Identifier: Apache-2.0
/*
 * test_supervise.c - unit tests of the supervisor's parts in csrc/launcher.
 *
 * Each works in a directory of its own, on pipes and processes of its own; no
 * sandbox is started. Prints one line for each failure and a count; exit code
 * 1 on failure.
 */
#include <errno.h>
#include <ftw.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "blob.h"
#include "launcher/supervise.h"
#include "sys.h"

static int failures;
static int checks;
static char base[] = "/tmp/sandbox-test-supervise-XXXXXX";

static void expect(const char *name, long expected, long actual)
{
	checks++;
	if (expected == actual)
		return;
	failures++;
	printf("FAIL %s: expected %ld, got %ld\n", name, expected, actual);
}

static void relay_turn(struct sbx_relay *relay)
{
	struct pollfd polls[SBX_RELAY_POLLS];
	int count = sbx_relay_polls(relay, polls);
	int i;

	poll(polls, (nfds_t)count, 0);
	for (i = 0; i < count; i++)
		sbx_relay_handle(relay, &polls[i]);
}

static void test_relay_counts_and_cuts(void)
{
	struct sbx_fd_map fds[3];
	struct sbx_relay relay;
	struct pollfd polls[SBX_RELAY_POLLS];
	char text[64];
	int out[2];

	expect("pipe", 0, pipe(out));
	fds[0] = (struct sbx_fd_map){ .source = out[0], .target = 0 };
	fds[1] = (struct sbx_fd_map){ .source = out[1], .target = 1 };
	fds[2] = (struct sbx_fd_map){ .source = out[1], .target = 2 };
	expect("open", 0, sbx_relay_open(&relay, 10, fds, 3));
	expect("input stays", out[0], fds[0].source);
	expect("one pipe for one file", 1, relay.count);
	expect("shared", fds[1].source, fds[2].source);
	close(out[1]);
	expect("first", 6, write(fds[1].source, "first\n", 6));
	relay_turn(&relay);
	expect("second", 7, write(fds[2].source, "second\n", 7));
	relay_turn(&relay);
	expect("cut", 1, relay.is_truncated);
	expect("counted", 10, (long)relay.total);
	expect("passed", 10, read(out[0], text, sizeof(text)));
	expect("text", 0, memcmp(text, "first\nseco", 10));
	sbx_relay_release_writers(&relay);
	relay_turn(&relay);
	expect("all has passed", 0, sbx_relay_polls(&relay, polls));
	expect("end is seen", 0, read(out[0], text, sizeof(text)));
	sbx_relay_close(&relay);
	close(out[0]);
}

static void test_relay_waits_for_its_reader(void)
{
	static char block[70000];
	struct sbx_fd_map fd = { .target = 1 };
	struct sbx_relay relay;
	struct pollfd polls[SBX_RELAY_POLLS];
	int ends[2];
	int i;

	expect("pair", 0, socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	fd.source = ends[1];
	expect("open", 0, sbx_relay_open(&relay, UINT64_MAX - 1, &fd, 1));
	close(ends[1]);
	fcntl(fd.source, F_SETFL, O_NONBLOCK);
	for (i = 0; i < 64; i++) {	/* returns: nothing waits for the reader */
		(void)!write(fd.source, block, sizeof(block));
		relay_turn(&relay);
	}
	expect("back-pressure", -1, write(fd.source, block, sizeof(block)));
	expect("only room is waited for", 1, sbx_relay_polls(&relay, polls));
	expect("for writing", POLLOUT, polls[0].events);
	close(ends[0]);
	relay_turn(&relay);
	expect("reader gone", 0, sbx_relay_polls(&relay, polls));
	expect("command is told", -1, write(fd.source, "x", 1));
	expect("by EPIPE", EPIPE, errno);
	sbx_relay_close(&relay);
}

static void test_journal_rows_are_read(void)
{
	static const char *const broken[] = {
		"x", "1", "1 2", "1 2 ", "1 2 6", "1 2 6g\n", "1 2 61", "1 2 \n",
		"-1 2 61\n", "1 2 61 \n",
	};
	struct sbx_journal_row row;
	const char *text = "1 22 2f61\n3 4 ff\n";
	const char *next = sbx_journal_next(text, &row);
	char *longest = malloc(2 * PATH_MAX + 16);
	size_t i;

	expect("second row", 10, next - text);
	expect("dev", 1, (long)row.dev);
	expect("ino", 22, (long)row.ino);
	expect("path", 0, strcmp(row.path, "/a"));
	expect("end", 0, *sbx_journal_next(next, &row));
	expect("any byte", 0, strcmp(row.path, "\xff"));
	for (i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		expect(broken[i], 1, !sbx_journal_next(broken[i], &row));
	memset(longest, 'a', 2 * PATH_MAX + 16);
	memcpy(longest, "1 2 ", 4);
	strcpy(longest + 4 + 2 * PATH_MAX, "\n");
	expect("too long", 1, !sbx_journal_next(longest, &row));
	strcpy(longest + 4 + 2 * (PATH_MAX - 1), "\n");
	expect("longest", 0, *sbx_journal_next(longest, &row));
	free(longest);
}

static void test_journal_knows_who_lives(void)
{
	int folder = sbx_journal_folder();
	char *text;
	pid_t pid;

	expect("folder", 1, folder >= 0);
	expect("write", 0, sbx_journal_write(folder, "mine", "1 2 2f61\n", 9));
	text = sbx_journal_read(folder, "mine");
	expect("alive", 1, sbx_journal_is_alive(text));
	expect("rows", 0, strcmp(strchr(text, '\n'), "\n1 2 2f61\n"));
	text[strcspn(text, "\n") - 1] ^= 1;
	expect("another start", 0, sbx_journal_is_alive(text));
	free(text);
	pid = fork();
	if (pid == 0)
		_exit(sbx_journal_write(folder, "dead", "", 0) ? 1 : 0);
	waitpid(pid, NULL, 0);
	text = sbx_journal_read(folder, "dead");
	expect("dead", 0, sbx_journal_is_alive(text));
	free(text);
	text = sbx_journal_read(folder, "absent");
	expect("absent", 0, *text);
	free(text);
	expect("nobody", 0, sbx_journal_is_alive("1"));
	expect("odd", 0, sbx_journal_is_alive("../1 1"));
	unlinkat(folder, "mine", 0);
	unlinkat(folder, "dead", 0);
	close(folder);
}

/* An entry with placeholders for @host below the base. */
static struct blob *placeholders_blob(const char *const host[], uint32_t count)
{
	struct blob *blob = blob_new(1);
	struct sbx_placeholder *rows = blob_section(
		blob, SBX_SECTION_ENTRY_PLACEHOLDERS, count, sizeof(*rows));
	char path[PATH_MAX];
	uint32_t i;

	for (i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", base, host[i]);
		rows[i].inside = blob_string(blob, host[i]);
		rows[i].host = blob_string(blob, path);
	}
	blob_finish(blob, SBX_ENTRY_MAGIC);
	return blob;
}

static mode_t mode_of(const char *name)
{
	char path[PATH_MAX];
	struct stat found;

	snprintf(path, sizeof(path), "%s/%s", base, name);
	return lstat(path, &found) < 0 ? 0 : found.st_mode;
}

static void test_placeholders_come_and_go(void)
{
	static const char *const host[] = { "one", "absent/two", "link/three" };
	struct sbx_placeholders mine, other;
	struct sbx_error error;
	struct sbx_view view;
	struct blob *blob;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/link", base);
	expect("link", 0, symlink(base, path));
	blob = placeholders_blob(host, 3);
	expect("view", 0, sbx_view_open(&view, blob->bytes, blob->size,
					SBX_ENTRY_MAGIC, 1 << 20, &error));
	expect("open", 0, sbx_placeholders_open(&mine, &view));
	expect("made", S_IFSOCK | 0444, (long)mode_of("one"));
	expect("is there", 1, mine.made[0].is_there);
	expect("no directory", 0, mine.made[1].is_there);
	expect("no link is followed", 0, mine.made[2].is_there);
	expect("shared", 0, sbx_placeholders_open(&other, &view));
	expect("close", 0, sbx_placeholders_close(&mine));
	expect("held", S_IFSOCK | 0444, (long)mode_of("one"));
	expect("close", 0, sbx_placeholders_close(&other));
	expect("gone", 0, (long)mode_of("one"));
	expect("none", 0, sbx_placeholders_open(&mine, NULL));
	expect("close none", 0, sbx_placeholders_close(&mine));
	unlink(path);
	blob_free(blob);
}

/* Older kernels and container engines answer openat2(2) so. */
static void openat2_refuse(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SBX_NR_OPENAT2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = code };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	expect("filter", 0, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	expect("refused", -ENOSYS, sys_openat2(AT_FDCWD, "/", O_PATH, 0));
}

static void test_memory_of_a_tree_is_summed(void)
{
	pid_t root = fork();
	uint64_t sum = 0;
	int tries;

	if (root == 0) {
		static volatile char held[8 << 20];
		pid_t pid = fork();
		size_t i;

		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (pid == 0)
			for (i = 0; i < sizeof(held); i += 4096)
				held[i] = 1;
		for (;;)
			pause();
	}
	for (tries = 0; tries < 500 && sum < 8 << 20; tries++) {
		usleep(10000);
		sum = sbx_tree_memory(root, 1);
	}
	expect("what is the child's alone", 1, sum >= 8 << 20);
	expect("with what it shares", 1,
	       sbx_tree_memory(root, UINT64_MAX) >= sum);
	kill(root, SIGKILL);
	waitpid(root, NULL, 0);
	expect("gone", 0, (long)sbx_tree_memory(root, 1));
}

static void test_signals_are_noted(void)
{
	struct sbx_signals signals;
	struct sigaction action;

	signal(SIGHUP, SIG_IGN);
	sbx_signals_open(&signals, 0);
	raise(SIGTERM);
	raise(SIGHUP);
	raise(SIGUSR1);
	sbx_signals_attach(&signals);
	expect("first", SIGUSR1, sbx_signals_take());
	expect("second", SIGTERM, sbx_signals_take());
	expect("ignored stays so", 0, sbx_signals_take());
	sbx_signals_close(&signals);
	sigaction(SIGTERM, NULL, &action);
	expect("as before", 1, action.sa_handler == SIG_DFL);
	sigaction(SIGHUP, NULL, &action);
	expect("ignored as before", 1, action.sa_handler == SIG_IGN);
	signal(SIGHUP, SIG_DFL);
}

static int remove_one(const char *path, const struct stat *found, int kind,
		      struct FTW *place)
{
	(void)found;
	(void)kind;
	(void)place;
	return remove(path);
}

int main(void)
{
	if (!mkdtemp(base) || setenv("XDG_RUNTIME_DIR", base, 1) < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	test_relay_counts_and_cuts();
	test_relay_waits_for_its_reader();
	test_journal_rows_are_read();
	test_journal_knows_who_lives();
	test_placeholders_come_and_go();
	test_memory_of_a_tree_is_summed();
	test_signals_are_noted();
	openat2_refuse();
	test_placeholders_come_and_go();
	if (nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS) < 0)
		failures++;
	printf("%d checks, %d failures\n", checks, failures);
	return failures ? 1 : 0;
}
