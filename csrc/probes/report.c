// SPDX-License-Identifier: Apache-2.0
/*
 * report.c - collects the outcomes of a probe and prints them as one line.
 *
 * Runs in the process of the probe, outside or inside the sandbox. It knows
 * nothing of expectations: which outcome is right under which policy stands in
 * the catalogue of the test suite.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/**
 * report_init - start an empty report
 * @report: filled in
 * @id: catalogue id, kept by reference
 */
void report_init(struct report *report, const char *id)
{
	memset(report, 0, sizeof(*report));
	report->id = id;
}

static void write_code(char *value, size_t size, int code)
{
	const char *name;

	if (code == 0) {
		snprintf(value, size, "OK");
	} else if (code < 0) {
		name = sigabbrev_np(-code);
		snprintf(value, size, "SIG%s", name ? name : "UNKNOWN");
	} else {
		name = strerrorname_np(code);
		if (name)
			snprintf(value, size, "%s", name);
		else
			snprintf(value, size, "%d", code);
	}
}

static struct probe_part *next_part(struct report *report, const char *name)
{
	struct probe_part *part;

	if (report->part_count == PROBE_PARTS_MAX) {
		report_unprepared(report, "more than %d attempts",
				  PROBE_PARTS_MAX);
		return &report->parts[PROBE_PARTS_MAX - 1];
	}
	part = &report->parts[report->part_count++];
	snprintf(part->name, sizeof(part->name), "%s", name);
	return part;
}

/**
 * report_attempt - record what a system call returned
 * @report: added to
 * @name: of the attempt
 * @ret: what the call returned; errno is read if it is negative
 * @reached: an errno that only comes from behind every refusal, or 0
 */
void report_attempt(struct report *report, const char *name, long ret,
		    int reached)
{
	int code = ret < 0 ? errno : 0;

	if (reached && code == reached)
		code = 0;
	report_code(report, name, code);
}

/**
 * report_code - record an outcome that is already known
 * @report: added to
 * @name: of the attempt
 * @code: 0 = went through, positive = errno, negative = ended by a signal
 */
void report_code(struct report *report, const char *name, int code)
{
	struct probe_part *part = next_part(report, name);

	write_code(part->value, sizeof(part->value), code);
}

/**
 * report_presence - record whether something that must be missing is there
 * @report: added to
 * @name: of the attempt
 * @is_there: the sandbox shows it
 */
void report_presence(struct report *report, const char *name, bool is_there)
{
	struct probe_part *part = next_part(report, name);

	snprintf(part->value, sizeof(part->value), "%s",
		 is_there ? "OK" : "absent");
}

/**
 * report_works - record whether something that must work does
 * @report: added to
 * @name: of the thing
 * @ret: what the call returned; errno is read if it is negative
 */
void report_works(struct report *report, const char *name, long ret)
{
	int code = ret < 0 ? errno : 0;
	struct probe_part *part;

	if (report->works_count == PROBE_PARTS_MAX)
		return;
	part = &report->works[report->works_count++];
	snprintf(part->name, sizeof(part->name), "%s", name);
	write_code(part->value, sizeof(part->value), code);
}

static void add_detail(struct report *report, const char *format, va_list list)
{
	size_t used = strlen(report->detail);

	if (used && used + 2 < sizeof(report->detail)) {
		memcpy(report->detail + used, "; ", 3);
		used += 2;
	}
	vsnprintf(report->detail + used, sizeof(report->detail) - used, format,
		  list);
}

/**
 * report_note - add a remark for the reader
 * @report: added to
 * @format: as printf(3)
 */
void report_note(struct report *report, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	add_detail(report, format, list);
	va_end(list);
}

/**
 * report_unprepared - say that the probe could not be made ready
 * @report: marked
 * @format: as printf(3)
 */
void report_unprepared(struct report *report, const char *format, ...)
{
	va_list list;

	report->is_unprepared = true;
	va_start(list, format);
	add_detail(report, format, list);
	va_end(list);
}

static void print_string(const char *text)
{
	const unsigned char *byte = (const unsigned char *)text;

	putchar('"');
	for (; *byte; byte++) {
		/* \u00XX keeps the line ASCII whatever a path holds */
		if (*byte == '"' || *byte == '\\')
			printf("\\%c", *byte);
		else if (*byte < 0x20 || *byte > 0x7e)
			printf("\\u%04x", *byte);
		else
			putchar(*byte);
	}
	putchar('"');
}

static void print_parts(const char *key, const struct probe_part *parts,
			size_t count)
{
	printf(", \"%s\": {", key);
	for (size_t i = 0; i < count; i++) {
		if (i)
			printf(", ");
		print_string(parts[i].name);
		printf(": ");
		print_string(parts[i].value);
	}
	putchar('}');
}

/**
 * report_print - print the report as one JSON line on stdout
 * @report: what was found out
 *
 * Return: the exit code of the program.
 */
int report_print(const struct report *report)
{
	const char *refusal = NULL;
	bool is_ok = false;

	for (size_t i = 0; i < report->part_count; i++) {
		if (strcmp(report->parts[i].value, "OK") == 0)
			is_ok = true;
		else if (!refusal)
			refusal = report->parts[i].value;
	}
	printf("{\"id\": ");
	print_string(report->id);
	printf(", \"ok\": %s, \"errno\": ", is_ok ? "true" : "false");
	if (refusal)
		print_string(refusal);
	else
		printf("null");
	printf(", \"detail\": ");
	print_string(report->detail);
	print_parts("parts", report->parts, report->part_count);
	print_parts("works", report->works, report->works_count);
	printf("}\n");
	if (fflush(stdout) != 0 || report->is_unprepared ||
	    report->part_count == 0)
		return PROBE_EXIT_UNPREPARED;
	return is_ok ? PROBE_EXIT_OK : PROBE_EXIT_REFUSED;
}
