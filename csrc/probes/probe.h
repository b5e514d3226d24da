/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - the smallest attempts at what a sandbox must refuse.
 *
 * One static program runs a probe by its catalogue id, outside (the control)
 * and inside the sandbox; the two answers together make a verdict. A probe
 * asks whether a mechanism is reachable and stops there: it holds no exploit,
 * and a call whose success would matter gets an argument that cannot succeed,
 * so that "the kernel looked at it" reads as one known errno (EBADF, ENOENT).
 *
 * Output: one JSON line {"id", "ok", "errno", "detail", "parts", "works"}.
 * parts: each attempt: "OK", an errno name, a signal name or "absent" (what
 * was looked for is not there). works: what the sandbox must still allow.
 * ok: at least one attempt went through. errno: of the first that did not.
 * Exit: 0 = ok, 1 = all refused, 2 = the probe could not be prepared.
 */
#ifndef SBX_PROBE_H
#define SBX_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROBE_EXIT_OK 0
#define PROBE_EXIT_REFUSED 1
#define PROBE_EXIT_UNPREPARED 2

/* Any probe that takes longer hangs; the default action of SIGALRM ends it. */
#define PROBE_TIMEOUT_S 20

#define PROBE_PARTS_MAX 96
#define PROBE_NAME_MAX 64
#define PROBE_DETAIL_MAX 4096

/* Calls newer than the headers of the oldest supported C library. The numbers
 * from 424 on are the same on every architecture. */
#define PROBE_NR_IO_URING_SETUP 425
#define PROBE_NR_IO_URING_ENTER 426
#define PROBE_NR_IO_URING_REGISTER 427
#define PROBE_NR_OPEN_TREE 428
#define PROBE_NR_MOVE_MOUNT 429
#define PROBE_NR_FSOPEN 430
#define PROBE_NR_FSCONFIG 431
#define PROBE_NR_FSMOUNT 432
#define PROBE_NR_FSPICK 433
#define PROBE_NR_PIDFD_OPEN 434
#define PROBE_NR_CLONE3 435
#define PROBE_NR_PIDFD_GETFD 438
#define PROBE_NR_MOUNT_SETATTR 442
#define PROBE_NR_LISTMOUNT 458
#define PROBE_NR_LSM_LIST_MODULES 461

/**
 * struct probe_part - the outcome of one attempt
 * @name: of the attempt, unique within the probe
 * @value: "OK", an errno or signal name, or "absent"
 */
struct probe_part {
	char name[PROBE_NAME_MAX];
	char value[24];
};

/**
 * struct report - what a probe found out
 * @id: catalogue id
 * @parts: attempts, in the order they were made
 * @part_count: number of @parts
 * @works: things that must still work
 * @works_count: number of @works
 * @is_unprepared: the probe could not be made ready; @detail says why
 * @detail: notes for the reader
 */
struct report {
	const char *id;
	struct probe_part parts[PROBE_PARTS_MAX];
	size_t part_count;
	struct probe_part works[PROBE_PARTS_MAX];
	size_t works_count;
	bool is_unprepared;
	char detail[PROBE_DETAIL_MAX];
};

/**
 * struct probe - a row of the catalogue that is run natively
 * @id: catalogue id
 * @title: what is attempted
 * @run: makes the attempts; argv[0] is the first argument after the id
 */
struct probe {
	const char *id;
	const char *title;
	void (*run)(struct report *report, int argc, char **argv);
};

/* Tables of the groups, each ended by a row without id. */
extern const struct probe s_probes[];
extern const struct probe s_wall_probes[];
extern const struct probe s_filter_probes[];
extern const struct probe n_probes[];
extern const struct probe f_probes[];
extern const struct probe p_probes[];
extern const struct probe k_probes[];
extern const struct probe x_probes[];

/* report.c: outcomes */
void report_init(struct report *report, const char *id);
void report_attempt(struct report *report, const char *name, long ret,
		    int reached);
void report_code(struct report *report, const char *name, int code);
void report_presence(struct report *report, const char *name, bool is_there);
void report_works(struct report *report, const char *name, long ret);
void report_unprepared(struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void report_note(struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int report_print(const struct report *report);

/* util.c: what several groups need */
typedef int (*probe_step)(void *argument);
int child_code(probe_step step, void *argument);
int errno_of(long ret);
pid_t start_sleeper(void);
void end_child(pid_t pid);
int connect_unix(const char *path, bool is_abstract);
ssize_t read_text(const char *path, char *buffer, size_t size);
bool status_field(const char *status, const char *name, char *value,
		  size_t size);
const char *argument_or(int argc, char **argv, int index, const char *other);
int long_argument(int argc, char **argv, int index, long *value);

/* control.c: the second control */
int run_in_own_userns(const struct probe *probe, int argc, char **argv);

#endif
