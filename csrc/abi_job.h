/*
 * abi_job.h - how a run ended, and the job of a supervisor.
 *
 * The second part of the boundary, read after abi.h by the same readers: no
 * #include, no guard, only integer defines, enums and structs.
 */

/* Who ended a run early. */
enum sbx_cause {
	SBX_CAUSE_NONE = 0,		/* it ended by itself, or was signalled */
	SBX_CAUSE_TIMEOUT = 1,
	SBX_CAUSE_MEMORY = 2,
	SBX_CAUSE_CPU = 3,
	SBX_CAUSE_OUTPUT = 4,
	SBX_CAUSE_CANCELLED = 5,	/* the caller asked for it, or is gone */
	SBX_CAUSE_COUNT = 6,
};

#define SBX_ENDING_USER_ENDED 0x1	/* INT, TERM, HUP or QUIT was passed on */
#define SBX_ENDING_OUTPUT_TRUNCATED 0x2
#define SBX_ENDING_STATUS_KNOWN 0x4	/* else pid 1 died without a report */
#define SBX_ENDING_COUNTED 0x8		/* output_bytes is known */
#define SBX_ENDING_PEAK_KNOWN 0x10	/* memory_peak_bytes is known */

#define SBX_HIT_MEMORY 0x1		/* limits that the kernel enforced */
#define SBX_HIT_PIDS 0x2
#define SBX_HIT_CPU_QUOTA 0x4

/* How a run ended, and what was seen on the way. */
struct sbx_ending {
	int32_t cause;			/* enum sbx_cause */
	uint32_t flags;			/* SBX_ENDING_* */
	struct sbx_status status;
	uint64_t wall_us;
	uint64_t memory_peak_bytes;
	uint64_t output_bytes;
	uint32_t hits;			/* SBX_HIT_* */
	uint32_t denial_count;
	uint32_t denials_lost;
	int32_t denials_errno;		/* why none could be recorded; 0: they were, …
					 * … or the plan asks for no record */
};

/*
 * A job for the program `sandbox-supervisor`, which runs it for a caller that
 * cannot fork. It finds a SOCK_SEQPACKET socket to the caller at CHANNEL_FD
 * and a file with this header and the blobs at DATA_FD (a memfd, say; neither
 * read nor changed once STARTED or FAILED came). 0-2 and the sources of the
 * invocation's FDS are the command's; every other descriptor is closed.
 * The supervisor has a session of its own, so a terminal's signals do not
 * reach it; TERM is passed on to the command. It ends with its job, and ends
 * the job when the caller closes the channel.
 */
#define SBX_JOB_MAGIC 0x4a584253
#define SBX_JOB_VERSION 1
#define SBX_JOB_CHANNEL_FD 3
#define SBX_JOB_DATA_FD 4
#define SBX_JOB_MAX 16777216		/* bytes of the file */

struct sbx_job_header {
	uint32_t magic;			/* SBX_JOB_MAGIC */
	uint32_t version;		/* SBX_JOB_VERSION */
	uint32_t plan_offset;		/* offsets are multiples of 8 */
	uint32_t plan_size;
	uint32_t invocation_offset;
	uint32_t invocation_size;
	uint32_t placeholders_offset;	/* an entry blob with placeholders, … */
	uint32_t placeholders_size;	/* … or 0: none */
	uint32_t flags;			/* reserved, 0 */
	uint32_t reserved[3];
};

/*
 * Each message is this head and the record its kind names, in one packet.
 * FAILED or ENDED is the last one that comes up, and exactly one of both does:
 * FAILED where nothing of the command ran, ENDED once everything is gone.
 */
struct sbx_message {
	uint32_t kind;			/* enum sbx_message_kind */
	int32_t value;
};

enum sbx_message_kind {
	/* up */
	SBX_MESSAGE_SPAWNED = 1,	/* HOLD: value = pid 1, which waits for SETTLED */
	SBX_MESSAGE_STARTED = 2,	/* the command is executed; value = pid 1 */
	SBX_MESSAGE_FAILED = 3,		/* struct sbx_error; value = -errno */
	SBX_MESSAGE_DENIAL = 4,		/* struct sbx_denial; before ENDED */
	SBX_MESSAGE_ENDED = 5,		/* struct sbx_ending */
	/* down */
	SBX_MESSAGE_SIGNAL = 16,	/* value = number, for the command; KILL ends all */
	SBX_MESSAGE_KILL = 17,		/* end all; value = enum sbx_cause, 0: CANCELLED */
	SBX_MESSAGE_SETTLED = 18,	/* HOLD: the child may go on */
	SBX_MESSAGE_LIMIT = 19,		/* time is up value milliseconds from now */
};
