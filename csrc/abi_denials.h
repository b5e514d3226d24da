/*
 * abi_denials.h - refused calls: the record, who serves it, and the log of runs.
 *
 * A part of the boundary, read after abi.h by the same readers: no #include,
 * no guard, only integer defines, structs and prototypes.
 *
 * Where a filter has SBX_FILTER_NOTIFY, a refused call that is worth
 * a record is put to the supervisor, which writes it down and answers with the
 * errno that the filter states (SECCOMP_RET_USER_NOTIF | errno). What the call
 * is told rests on its registers alone; memory is read for the record only.
 */

/*
 * Take the listener from child->handover_fd, after the command has started
 * and after the terminal was taken. Does not block then.
 * Return the descriptor; -EPIPE where the plan asks for none; else the reason
 * why refused calls are answered without a record (-EBUSY: the tree has
 * another listener).
 */
int sbx_listener_receive(int socket);

#define SBX_DENIALS_MAX 256		/* distinct ones kept; the rest is counted */
#define SBX_DENIAL_TEXT 160

struct sbx_denial {
	uint64_t t_us;			/* of the first one, since the start */
	uint64_t args[6];		/* of the first one */
	uint32_t arch;			/* AUDIT_ARCH_* */
	int32_t nr;
	int32_t error;			/* errno that was answered, positive */
	uint32_t count;			/* stays at its maximum */
	int32_t pid;			/* of the first one, as the supervisor sees it */
	uint32_t reserved;
	char comm[16];			/* of the first one; bytes, NUL-terminated */
	char text[SBX_DENIAL_TEXT];	/* path, address or kind; bytes, may be cut;
					 * a hint: what was seen, maybe not what was meant */
};

struct sbx_notify;			/* a listener and what it recorded */

/*
 * Take over the listener (closed in every case of failure: calls then fail).
 * started_us: CLOCK_MONOTONIC at the start of the run.
 * Return NULL where memory is short or the plan has no program that notifies.
 */
struct sbx_notify *sbx_notify_open(int listener, const void *plan,
				   size_t plan_size, uint64_t started_us);

/*
 * Answer what is pending, at most 64 calls, in at most a few milliseconds.
 * Call it when the listener polls readable or hung up.
 * Return how many; -EPIPE: no process is left under the filter, poll no more.
 */
int sbx_notify_serve(struct sbx_notify *notify);

/* The records, in the order of the first ones; valid until the close. */
const struct sbx_denial *sbx_notify_denials(const struct sbx_notify *notify);
uint32_t sbx_notify_count(const struct sbx_notify *notify);
uint32_t sbx_notify_lost(const struct sbx_notify *notify);	/* calls not recorded */
void sbx_notify_close(struct sbx_notify *notify);		/* NULL: nothing */

/*
 * The log of runs: one record for each run that ended, appended by one write.
 * A record is this head, text_size bytes of NUL-terminated strings (policy,
 * directory, then option_count words of options, then the command) and zeros
 * up to a multiple of 8, and denial_count struct sbx_denial.
 */
#define SBX_LOG_MAGIC 0x4c584253
#define SBX_LOG_TEXT_MAX 16384		/* the command's last words may go, TEXT_CUT */
#define SBX_LOG_DENIALS_MAX 64
#define SBX_LOG_FILE_MAX 1048576	/* then it becomes the old one, FILE.1 */
#define SBX_LOG_SIGNALED 0x1		/* value is a signal, else an exit code */
#define SBX_LOG_TEXT_CUT 0x2		/* words were left out at the end */
#define SBX_LOG_SETUP 0x4		/* nothing ran; value is the exit code */

enum sbx_log_reason {			/* the result's reasons */
	SBX_LOG_REASON_EXITED = 0,
	SBX_LOG_REASON_SIGNALED = 1,
	SBX_LOG_REASON_TIMEOUT = 2,
	SBX_LOG_REASON_OOM = 3,
	SBX_LOG_REASON_LIMIT = 4,
	SBX_LOG_REASON_POLICY = 5,
	SBX_LOG_REASON_CANCELLED = 6,
	SBX_LOG_REASON_SETUP = 7,
};

struct sbx_log_record {
	uint32_t magic;			/* SBX_LOG_MAGIC */
	uint32_t size;			/* of the whole record, bytes */
	uint64_t started_us;		/* since 1970 */
	uint64_t wall_us;
	uint32_t flags;			/* SBX_LOG_* */
	int32_t value;
	uint32_t reason;		/* enum sbx_log_reason */
	uint32_t denials_lost;
	uint32_t denial_count;
	uint32_t option_count;
	uint32_t text_size;
	uint32_t reserved;
	char run_id[24];
};

/*
 * Append a record to the private file `path` (made 0600, rotated); fills in
 * magic and size. A log that cannot be written is no reason to fail a run.
 * Return 0, or a negative errno.
 */
int sbx_log_append(const char *path, struct sbx_log_record *head,
		   const char *text, const struct sbx_denial *denials);
