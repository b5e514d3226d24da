// SPDX-License-Identifier: Apache-2.0
/*
 * test_bpf.c - unit tests of the interpreter in csrc/bpf_run.c.
 *
 * Every program lies in an allocation of its exact size, so that a sanitizer
 * sees a read of one instruction too many. Prints one line for each failure
 * and a count; exit code 1 on failure.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "notify.h"

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define TEST(kind, value, jt, jf) BPF_JUMP(BPF_JMP | (kind) | BPF_K, value, jt, jf)
#define NONE 0xdeadbeef

static int failures;
static int checks;

static void expect(const char *name, int err, uint32_t value,
		   const struct sock_filter *code, size_t count)
{
	const struct seccomp_data data = {
		.nr = 7,
		.arch = 0x1234,
		.args = { 0x100000002, 0, 0, 0, 0, 0xfffffffffffffff0 },
	};
	struct sock_filter *copy = malloc(count ? count * sizeof(*code) : 1);
	uint32_t got = NONE;
	int result;

	if (!copy)
		abort();
	if (count)
		memcpy(copy, code, count * sizeof(*code));
	result = sbx_bpf_run(copy, count, &data, &got);
	free(copy);
	checks++;
	if (result == err && got == value)
		return;
	failures++;
	printf("FAIL %s: %d, %#x\n", name, result, got);
}

#define EXPECT(name, err, value, ...)                                        \
	do {                                                                 \
		const struct sock_filter code[] = { __VA_ARGS__ };           \
		expect(name, err, value, code, sizeof(code) / sizeof(*code)); \
	} while (0)

static void test_answers(void)
{
	EXPECT("return", 0, 5, RETURN(5));
	EXPECT("number", 0, 1, LOAD(0), TEST(BPF_JEQ, 7, 0, 1), RETURN(1), RETURN(2));
	EXPECT("arch", 0, 2, LOAD(4), TEST(BPF_JEQ, 7, 0, 1), RETURN(1), RETURN(2));
	EXPECT("low half", 0, 1, LOAD(16), TEST(BPF_JGT, 1, 0, 1), RETURN(1), RETURN(2));
	EXPECT("high half", 0, 1, LOAD(20), TEST(BPF_JGE, 1, 0, 1), RETURN(1), RETURN(2));
	EXPECT("last word", 0, 1, LOAD(60), TEST(BPF_JSET, 1, 0, 1), RETURN(1), RETURN(2));
	EXPECT("unsigned", 0, 1, LOAD(56), TEST(BPF_JGT, 0x7fffffff, 0, 1), RETURN(1), RETURN(2));
	EXPECT("and", 0, 1, LOAD(0), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 3),
	       TEST(BPF_JEQ, 3, 0, 1), RETURN(1), RETURN(2));
	EXPECT("jump", 0, 2, BPF_STMT(BPF_JMP | BPF_JA, 1), RETURN(1), RETURN(2));
}

static void test_what_is_wrong_is_refused(void)
{
	EXPECT("no end", -EINVAL, NONE, LOAD(0));
	EXPECT("beyond the data", -EINVAL, NONE, LOAD(64), RETURN(1));
	EXPECT("far beyond", -EINVAL, NONE, LOAD(0xfffffffc), RETURN(1));
	EXPECT("unaligned", -EINVAL, NONE, LOAD(2), RETURN(1));
	EXPECT("jump out", -EINVAL, NONE, BPF_STMT(BPF_JMP | BPF_JA, 1), RETURN(1));
	EXPECT("jump far out", -EINVAL, NONE, BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff), RETURN(1));
	EXPECT("branch out", -EINVAL, NONE, TEST(BPF_JEQ, 0, 255, 0), RETURN(1));
	EXPECT("unknown", -EINVAL, NONE, BPF_STMT(BPF_ST, 0), RETURN(1));
	EXPECT("division", -EINVAL, NONE, BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), RETURN(1));
	expect("empty", -EINVAL, NONE, NULL, 0);
}

int main(void)
{
	test_answers();
	test_what_is_wrong_is_refused();
	printf("%d checks, %d failures\n", checks, failures);
	return failures ? 1 : 0;
}
