/*
 * audit: who asked for what, and what came of it. JSON lines in a file, each with a number and a
 * MAC over itself and the line before it (a keyed chain), so that a change, a cut, a gap or another
 * file in its place is found by `holdfast audit verify`. docs/audit.md names every field.
 *
 * Pure: line.c (event to line), parse.c (line to fields), check.c (does the chain hold). With
 * files: key.c, log.c (the writer, its journal, rotation and mending), sinks.c (copies to other
 * places). Nothing here has a thread; one hf_audit_log belongs to one thread at a time.
 */
#ifndef HF_AUDIT_H
#define HF_AUDIT_H

#include "base/base.h"
#include "crypto/crypto.h"

#define HF_AUDIT_KEY_BYTES 32
#define HF_AUDIT_MAC_BYTES 32
#define HF_AUDIT_FORMAT 1      /* of the lines: the member "format" of each file's first line */
#define HF_AUDIT_LINE_MAX 3072 /* of a line with its newline: what an event holds is bounded */
#define HF_AUDIT_NODE_LEN 64
#define HF_AUDIT_TEXT_LEN 160
#define HF_AUDIT_ACCESSOR_LEN 48
#define HF_AUDIT_CERTIFICATE_LEN 64
#define HF_AUDIT_SUBJECT_BYTES 48 /* a BLS public key; an address is shorter */

/* ---- events ---------------------------------------------------------------------------------- */

typedef enum hf_audit_kind {
    HF_AUDIT_OPENED = 0, /* the first line of each file */
    HF_AUDIT_STARTED,
    HF_AUDIT_STOPPED,
    HF_AUDIT_REQUEST, /* durable before the signature leaves; its RESULT follows */
    HF_AUDIT_RESULT,
    HF_AUDIT_REFUSED,  /* request and result in one: refused before anything was recorded */
    HF_AUDIT_UNLOGGED, /* so many events have no line: a flood, or the log could not be written */
    HF_AUDIT_MENDED,   /* the log was not as it was left */
    HF_AUDIT_KEYS_LOADED,
    HF_AUDIT_KEY_IMPORTED,
    HF_AUDIT_KEY_GENERATED,
    HF_AUDIT_KEY_CHANGED,
    HF_AUDIT_KEY_DELETED,
    HF_AUDIT_KEY_EXPORTED,
    HF_AUDIT_RECORD_IMPORTED, /* EIP-3076 */
    HF_AUDIT_RECORD_EXPORTED,
    HF_AUDIT_RECORD_PRUNED, /* by request */
    HF_AUDIT_RELOADED,
    HF_AUDIT_WATERMARK,
    HF_AUDIT_SEAL,
    HF_AUDIT_SHARE,
    HF_AUDIT_TOKEN,
    HF_AUDIT_POLICY,
    HF_AUDIT_CANARY,
    HF_AUDIT_GUARD,
    HF_AUDIT_DENIED, /* a management request that was not allowed */
    HF_AUDIT_ASKED,  /* one that was: written before it is done; what came of it has its number */
    HF_AUDIT_KIND_COUNT
} hf_audit_kind;

/* "request" and so on; NULL for a number that is none. */
const char *hf_audit_kind_name(hf_audit_kind kind);

/* Who asked. All zero: nobody, the program itself. */
typedef struct hf_audit_caller {
    uint8_t address[16]; /* IPv6, or IPv4 mapped into it */
    uint16_t port;
    bool has_address;
    bool is_local_admin;                  /* through admin.sock */
    char accessor[HF_AUDIT_ACCESSOR_LEN]; /* of the token, never the token */
    char certificate[HF_AUDIT_CERTIFICATE_LEN];
} hf_audit_caller;

/* Strings of others (accessor, certificate, text) may hold any bytes: the line escapes them. */
typedef struct hf_audit_event {
    hf_audit_kind kind;
    uint8_t subject_len; /* 48 for a BLS key, 20 for an address, 0 for none */
    bool has_slot;
    bool has_epoch;  /* target alone */
    bool has_epochs; /* source and target */
    bool has_root;
    uint8_t subject[HF_AUDIT_SUBJECT_BYTES];
    uint64_t slot;
    uint64_t source;
    uint64_t target;
    uint8_t root[HF_ROOT_BYTES];
    uint64_t request_id;   /* 0: none */
    uint64_t of;           /* the number of the REQUEST, or of what was ASKED */
    uint64_t count;        /* UNLOGGED: how many */
    const char *operation; /* literals or NULL, as the next two */
    const char *decision;  /* "signed", "refused", "failed", "done" */
    const char *reason;    /* "DOUBLE_VOTE" */
    hf_audit_caller caller;
    char text[HF_AUDIT_TEXT_LEN];
} hf_audit_event;

/* ---- the chain, pure ------------------------------------------------------------------------- */

/* Where a chain stands: the number and MAC of its last line. seq 0: nothing yet, mac is zero. */
typedef struct hf_audit_head {
    uint64_t seq;
    uint8_t mac[HF_AUDIT_MAC_BYTES];
} hf_audit_head;

typedef struct hf_audit_chain {
    uint8_t key[HF_AUDIT_KEY_BYTES];
    char node[HF_AUDIT_NODE_LEN];
    hf_audit_head head;
    int64_t shown_second; /* what shown holds */
    char shown[32];
} hf_audit_chain;

/* node: bytes other than letters, digits, '.', '-' and '_' become '_'. */
void hf_audit_chain_init(hf_audit_chain *chain, const uint8_t key[HF_AUDIT_KEY_BYTES],
                         const char *node);
/* Writes the next line, with its newline and no NUL, and moves the head. Returns its length. */
size_t hf_audit_chain_write(hf_audit_chain *chain, const hf_audit_event *event, int64_t unix_us,
                            char out[HF_AUDIT_LINE_MAX]);
/* The first line of a file: says which line it follows. */
size_t hf_audit_chain_open(hf_audit_chain *chain, int64_t unix_us, char out[HF_AUDIT_LINE_MAX]);
/* MAC of a line (up to its member "mac") that follows previous. */
void hf_audit_mac(const uint8_t key[HF_AUDIT_KEY_BYTES], const uint8_t previous[HF_AUDIT_MAC_BYTES],
                  const char *body, size_t len, uint8_t ret_mac[HF_AUDIT_MAC_BYTES]);
/* Tells keys apart without telling a key: 16 hex digits. */
#define HF_AUDIT_KEY_ID_LEN 17
void hf_audit_key_id(const uint8_t key[HF_AUDIT_KEY_BYTES], char ret_id[HF_AUDIT_KEY_ID_LEN]);

/* ---- lines that somebody else may have written, pure ------------------------------------------
 */

#define HF_AUDIT_FIELDS_MAX 32

/* Views into the line; value of a string without its quotes, escapes as they are. */
typedef struct hf_audit_field {
    hf_bytes name;
    hf_bytes value;
    bool is_text;
} hf_audit_field;

typedef struct hf_audit_line {
    uint64_t seq;
    size_t body_len; /* what the MAC covers */
    uint8_t mac[HF_AUDIT_MAC_BYTES];
    int64_t unix_s; /* its time; 0 when that is none */
    bool is_first;  /* of its file (kind "opened"), then with the next two */
    uint8_t previous[HF_AUDIT_MAC_BYTES];
    char key_id[HF_AUDIT_KEY_ID_LEN];
    size_t field_count;
    hf_audit_field fields[HF_AUDIT_FIELDS_MAX];
} hf_audit_line;

/* A line without its newline. INVALID_INPUT unless it is of the one form that we write. */
hf_status hf_audit_line_parse(const char *text, size_t len, hf_audit_line *ret_line) HF_MUST_CHECK;
/* NULL when there is none of this name. */
const hf_audit_field *hf_audit_line_find(const hf_audit_line *line, const char *name);

typedef enum hf_audit_fault {
    HF_AUDIT_SOUND = 0,
    HF_AUDIT_TORN,          /* bytes without a newline behind the last line */
    HF_AUDIT_MALFORMED,     /* not a line of ours */
    HF_AUDIT_CHANGED,       /* its MAC is not right */
    HF_AUDIT_GAP,           /* lines are missing before it */
    HF_AUDIT_OUT_OF_PLACE,  /* its number was there already */
    HF_AUDIT_NO_FIRST,      /* the file does not begin with a line "opened": its beginning is cut */
    HF_AUDIT_NOT_FOLLOWING, /* the file does not follow the one before it */
    HF_AUDIT_OTHER_KEY
} hf_audit_fault;

/* Goes over files in their order, line by line, until the first fault. */
typedef struct hf_audit_check {
    uint8_t key[HF_AUDIT_KEY_BYTES];
    hf_audit_head head;  /* of the last sound line */
    hf_audit_head first; /* what the very first line of all says it follows */
    bool has_begun;
    bool at_file_start;
    uint64_t lines;      /* sound ones, in all files */
    uint64_t file_lines; /* in this file */
    uint64_t file_bytes; /* up to the end of the last sound line of this file */
    hf_audit_fault fault;
    bool has_wanted; /* look out for this head: is it in the chain? */
    bool found_wanted;
    hf_audit_head wanted;
    int64_t wanted_unix_s; /* when that line was written, and when the last sound one */
    int64_t last_unix_s;
} hf_audit_check;

void hf_audit_check_init(hf_audit_check *check, const uint8_t key[HF_AUDIT_KEY_BYTES]);
void hf_audit_check_file(hf_audit_check *check); /* another file begins */
/* False, with the fault, when this line does not continue the chain. Without its newline. */
bool hf_audit_check_line(hf_audit_check *check, const char *text, size_t len);
/* A sentence for the fault, naming the line in this file. */
void hf_audit_check_describe(const hf_audit_check *check, char *out, size_t out_len);
/*
 * Reads a file from its beginning until the end or a fault; visitor, when not NULL, sees each sound
 * line. A fault is no failure: look at check->fault. Blocks.
 */
typedef hf_status (*hf_audit_visitor)(void *context, const char *text, size_t len);
hf_status hf_audit_check_fd(hf_audit_check *check, int fd, const char *name,
                            hf_audit_visitor visitor, void *context, hf_error *err) HF_MUST_CHECK;

/* ---- key and files: these block -------------------------------------------------------------- */

/* Reads the key (64 hex digits, mode 0600); makes it when there is none and create is set. */
hf_status hf_audit_key_read(const char *path, bool create, uint8_t ret_key[HF_AUDIT_KEY_BYTES],
                            hf_error *err) HF_MUST_CHECK;

#define HF_AUDIT_PATH_LEN 1024

typedef struct hf_audit_config {
    char path[HF_AUDIT_PATH_LEN]; /* absolute */
    uint8_t key[HF_AUDIT_KEY_BYTES];
    char node[HF_AUDIT_NODE_LEN];
    uint64_t rotate_bytes; /* 0: never by itself */
    bool is_strict;        /* lines go through the journal, which makes sync cheap */
} hf_audit_config;

/* What was found at open. */
typedef struct hf_audit_opening {
    bool is_new;             /* there was no log */
    bool is_broken;          /* the chain did not hold: the file was moved to aside */
    hf_audit_fault fault;    /* of a broken one */
    uint64_t dropped_bytes;  /* a torn end */
    uint64_t restored_lines; /* from the journal */
    bool has_anchor;         /* what follows was looked at */
    bool is_ahead; /* the log goes on for long behind the anchor: the store may be an older copy */
    bool has_anchored_line; /* the anchored line is in the newest file or behind its beginning */
    char aside[HF_AUDIT_PATH_LEN + 48];
    char sentence[HF_AUDIT_TEXT_LEN]; /* "" when all was as it was left */
} hf_audit_opening;

typedef struct hf_audit_log hf_audit_log;

/*
 * Opens the log and its journal, mends a torn end and goes on where the chain ended; the caller
 * then writes what it was told by ret_opening. anchor: what the slashing store says of the chain's
 * head, or NULL. A log that does not hold is moved aside, never lost, and a new file begins.
 */
hf_status hf_audit_log_open(const hf_audit_config *config, const hf_audit_head *anchor,
                            hf_audit_log **ret_log, hf_audit_opening *ret_opening,
                            hf_error *err) HF_MUST_CHECK;
/* Syncs; NULL is fine. */
void hf_audit_log_close(hf_audit_log *log);

/*
 * Adds the line of an event to the group under way and returns its number. Rooms for
 * HF_AUDIT_GROUP_MAX events; nothing is written before hf_audit_log_commit.
 */
#define HF_AUDIT_GROUP_MAX 512
uint64_t hf_audit_log_add(hf_audit_log *log, const hf_audit_event *event);
/*
 * Writes the group. In a strict log, or with sync, it is durable when this returns. On failure
 * nothing of it counts: the chain stands where it stood, and the next commit writes over it.
 */
hf_status hf_audit_log_commit(hf_audit_log *log, bool sync, hf_error *err) HF_MUST_CHECK;
/* The bytes of the last group that was committed, borrowed until the next add. */
hf_bytes hf_audit_log_committed(const hf_audit_log *log);
/* The head of what was committed. */
hf_audit_head hf_audit_log_head(const hf_audit_log *log);
/* Another program moved or cut the file, or it has grown to its size: go on in a new one. Makes the
 * file itself durable. To be called about once a second. */
hf_status hf_audit_log_tend(hf_audit_log *log, bool sync, hf_error *err) HF_MUST_CHECK;
/* Any thread, from a log that is open: is this line in its newest file, or before it? Reads all of
 * it. True when it cannot be told. */
bool hf_audit_log_contains(const hf_audit_log *log, const hf_audit_head *head);
uint64_t hf_audit_log_rotations(const hf_audit_log *log);
/* What tend met that somebody should know of (the file was cut or replaced), "" for nothing. */
const char *hf_audit_log_notice(const hf_audit_log *log);
void hf_audit_log_notice_done(hf_audit_log *log);

/* ---- copies ---------------------------------------------------------------------------------- */

typedef enum hf_audit_sink {
    HF_AUDIT_SINK_STDOUT = 1,
    HF_AUDIT_SINK_SYSLOG = 2, /* RFC 3164 datagrams to /dev/log */
    HF_AUDIT_SINK_JOURNALD = 4
} hf_audit_sink;

typedef struct hf_audit_sinks {
    unsigned which;          /* of hf_audit_sink */
    int socket;              /* -1: none */
    uint64_t lost;           /* lines that a sink did not take */
    const char *syslog_path; /* where the services listen */
    const char *journald_path;
} hf_audit_sinks;

/* Before the sandbox closes: makes the socket. */
hf_status hf_audit_sinks_open(unsigned which, hf_audit_sinks *ret_sinks,
                              hf_error *err) HF_MUST_CHECK;
/* Copies whole lines; waits for no sink. What one does not take at once is counted and dropped. */
void hf_audit_sinks_write(hf_audit_sinks *sinks, hf_bytes lines);
void hf_audit_sinks_close(hf_audit_sinks *sinks);

#endif
