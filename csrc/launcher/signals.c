// SPDX-License-Identifier: Apache-2.0
/*
 * signals.c - signals of the caller, passed on to the command while it runs.
 *
 * Runs in the supervisor. From before the first effect of a run until after
 * its last, a handler notes what came; the loop takes it from there. Handlers
 * and not a signalfd: blocked signals would be blocked for the command as
 * well. What was ignored stays so: nohup(1) means what it says.
 *
 * Once there is a child, the signals are let in only while the loop waits, so
 * none is noted between a look and the wait.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "supervise.h"

static const int passed_on[] = {
	SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT,
	SIGTSTP,
};

/* Handlers reach nothing else. One process supervises one run at a time. */
static volatile sig_atomic_t arrived[NSIG];
static volatile sig_atomic_t is_attached;

static void note(int number)
{
	int before = errno;

	/* before there is a command, Ctrl-Z is about this process alone */
	if (number == SIGTSTP && !is_attached)
		kill(getpid(), SIGSTOP);
	else
		arrived[number] = 1;
	errno = before;
}

/* Not SIG_IGN, which the command would inherit. */
static void pass_over(int number)
{
	(void)number;
}

static void handle(struct sbx_signals *signals, int number,
		   void (*handler)(int))
{
	struct sigaction action;

	if (sigaction(number, NULL, &signals->previous[number]) < 0 ||
	    signals->previous[number].sa_handler == SIG_IGN)
		return;
	memset(&action, 0, sizeof(action));
	action.sa_handler = handler;
	action.sa_flags = SA_RESTART;
	sigfillset(&action.sa_mask);
	if (sigaction(number, &action, NULL) == 0)
		sigaddset(&signals->handled, number);
}

/**
 * sbx_signals_open - start to note signals
 * @is_detached: those of a terminal are not for us, whoever sends them
 * Context: supervisor, one thread. SIGPIPE becomes an error of write(2).
 */
void sbx_signals_open(struct sbx_signals *signals, int is_detached)
{
	size_t i;

	memset(signals, 0, sizeof(*signals));
	sigemptyset(&signals->handled);
	memset((void *)(uintptr_t)arrived, 0, sizeof(arrived));
	is_attached = 0;
	for (i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		handle(signals, passed_on[i],
		       is_detached && passed_on[i] != SIGTERM ? pass_over : note);
	/* the child sets it back: signals_reset() of child.c */
	handle(signals, SIGPIPE, pass_over);
	sigdelset(&signals->handled, SIGPIPE);
	sigprocmask(SIG_SETMASK, NULL, &signals->outside);
}

/**
 * sbx_signals_attach - from now on let signals in only while waiting
 * Context: after the clone, whose child takes the mask over.
 */
void sbx_signals_attach(struct sbx_signals *signals)
{
	sigprocmask(SIG_BLOCK, &signals->handled, NULL);
	is_attached = 1;
}

/**
 * sbx_signals_take - the next signal that came, in the order of their numbers
 * Return: its number, or 0.
 */
int sbx_signals_take(void)
{
	int number;

	for (number = 1; number < NSIG; number++)
		if (arrived[number]) {
			arrived[number] = 0;
			return number;
		}
	return 0;
}

/**
 * sbx_signals_close - handle signals as before
 */
void sbx_signals_close(struct sbx_signals *signals)
{
	int number;

	/* what came last is taken by the handler, not by what was before */
	sigprocmask(SIG_SETMASK, &signals->outside, NULL);
	sigaddset(&signals->handled, SIGPIPE);
	for (number = 1; number < NSIG; number++)
		if (sigismember(&signals->handled, number) == 1 &&
		    signals->previous[number].sa_handler != SIG_IGN)
			sigaction(number, &signals->previous[number], NULL);
}

/**
 * sbx_signal_ends - whether a signal asks a command to end
 */
int sbx_signal_ends(int number)
{
	return number == SIGTERM || number == SIGINT || number == SIGHUP ||
	       number == SIGQUIT;
}
