/*
 * doctor, inside: one table of checks (doctor.c), each a function that looks at one thing and says
 * what it found. A check never stops the others; what it cannot see is a WARN that says why.
 * Everything about the machine is read below the two folders proc and sys, so that tests can give
 * another machine.
 */
#ifndef HF_CLI_DOCTOR_INTERNAL_H
#define HF_CLI_DOCTOR_INTERNAL_H

#include "cli.h"

#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/types.h>

typedef enum hf_row_state { HF_ROW_OK = 0, HF_ROW_WARN, HF_ROW_FAIL } hf_row_state;

#define HF_ROW_STATES 3
#define HF_DOCTOR_ROWS_MAX 256
#define HF_DOCTOR_CHILDREN_MAX 64

typedef struct hf_doctor_row {
    const char *check; /* "data-dir" */
    hf_row_state verdict;
    char finding[480];
    const char *remedy; /* "" for none */
} hf_doctor_row;

typedef struct hf_doctor_child {
    pid_t pid;
    char name[32]; /* "holdfast-keeper", as the kernel has it: 15 letters */
} hf_doctor_child;

typedef struct hf_doctor {
    const char *proc; /* "/proc" */
    const char *sys;  /* "/sys" */
    const char *config_path;
    const hf_config *config; /* NULL: it could not be loaded */
    const char *written;     /* the file itself, or "" */
    const char *shown;       /* its text with all defaults (holdfast check --show), or "" */
    uid_t uid;               /* who the signer is, or will be */
    gid_t gid;
    pid_t supervisor; /* 0: no signer runs, or it does not talk to us */
    hf_doctor_child children[HF_DOCTOR_CHILDREN_MAX];
    size_t child_count;
    hf_msg_status_reply status; /* while supervisor is set */
    char silent[320];           /* why supervisor is not set */

    const char *check; /* under way */
    hf_doctor_row rows[HF_DOCTOR_ROWS_MAX];
    size_t row_count;
    size_t counts[HF_ROW_STATES];
} hf_doctor;

/* Adds a row to the check under way. remedy is a constant; "" where nothing is to be done. */
void hf_doctor_say(hf_doctor *doctor, hf_row_state verdict, const char *remedy, const char *fmt,
                   ...) __attribute__((format(printf, 4, 5)));

/* The content of a file below proc or sys; NULL when it cannot be read. The caller frees it. */
hf_buf *hf_doctor_read(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A number at the start of a text, behind blanks; false when there is none. */
bool hf_doctor_number(const char *text, unsigned base, uint64_t *ret_value);

/* The number behind "name:" in a text like /proc/PID/status; false when it is not there. */
bool hf_doctor_field(const char *text, const char *name, unsigned base, uint64_t *ret_value);

/* The value of a setting in the text of a configuration, cut to out; false when it is not there. */
bool hf_doctor_find(const char *text, const char *path, char *out, size_t out_len);

/* The same in doctor->shown. */
bool hf_doctor_setting(const hf_doctor *doctor, const char *path, char *out, size_t out_len);

/* ---- checks ------------------------------------------------------------------------------- */

/* doctor_files.c */
void hf_check_config_file(hf_doctor *doctor);
void hf_check_data_dir(hf_doctor *doctor);
void hf_check_key_files(hf_doctor *doctor);
void hf_check_password_files(hf_doctor *doctor);
void hf_check_tls_files(hf_doctor *doctor);
void hf_check_programs(hf_doctor *doctor);
void hf_check_data_disk(hf_doctor *doctor);

/* doctor_network.c */
void hf_check_api_address(hf_doctor *doctor);
void hf_check_metrics_address(hf_doctor *doctor);
void hf_check_api_tls(hf_doctor *doctor);
void hf_check_database_tls(hf_doctor *doctor);
void hf_check_listeners(hf_doctor *doctor);
void hf_check_firewall(hf_doctor *doctor);

/* doctor_node.c: nothing to say where no node is configured */
void hf_check_node(hf_doctor *doctor);

/* doctor_machine.c */
void hf_check_kernel(hf_doctor *doctor);
void hf_check_ptrace(hf_doctor *doctor);
void hf_check_clock(hf_doctor *doctor);
void hf_check_swap(hf_doctor *doctor);
void hf_check_core_dumps(hf_doctor *doctor);
void hf_check_memlock(hf_doctor *doctor);
void hf_check_file_capabilities(hf_doctor *doctor);

/* doctor_signer.c */
void hf_check_user(hf_doctor *doctor);
void hf_check_running(hf_doctor *doctor);
void hf_check_processes(hf_doctor *doctor);
void hf_check_protections(hf_doctor *doctor);
void hf_check_unit(hf_doctor *doctor);

/* doctor_settings.c */
void hf_check_hardening(hf_doctor *doctor);
void hf_check_tokens(hf_doctor *doctor);
void hf_check_canaries(hf_doctor *doctor);
void hf_check_audit(hf_doctor *doctor);

/* ---- judgements, for tests ---------------------------------------------------------------- */

typedef enum hf_reach {
    HF_REACH_LOOPBACK = 0,
    HF_REACH_PRIVATE,
    HF_REACH_ANY,
    HF_REACH_PUBLIC
} hf_reach;

/* How far an address is reached from; ANY is 0.0.0.0 and ::. What is no address counts as PUBLIC.
 */
hf_reach hf_doctor_reach(const char *address);

/* How the kernel's clock discipline is to be judged; finding says it in words. */
hf_row_state hf_doctor_judge_clock(int state, const struct timex *clock, uint64_t now_unix_s,
                                   char *finding, size_t finding_len);

typedef enum hf_firewall {
    HF_FIREWALL_OPEN = 0,
    HF_FIREWALL_NAMES_PORT,
    HF_FIREWALL_CLOSED
} hf_firewall;

/*
 * What `nft --json list ruleset` says of TCP connections to a port from outside: a base chain on
 * the input hook that drops by default, or one with a rule that names the port, or neither.
 * INVALID_INPUT when it is no such output.
 */
hf_status hf_doctor_judge_nft(const char *json, uint16_t port,
                              hf_firewall *ret_firewall) HF_MUST_CHECK;

typedef enum hf_file_kind {
    HF_FILE_CONFIG,  /* holds no secret by itself */
    HF_FILE_PRIVATE, /* keystores, folders of them */
    HF_FILE_SECRET,  /* passwords, tokens, private keys */
    HF_FILE_PUBLIC   /* anyone may read: programs, certificates */
} hf_file_kind;

/* Owner and mode of one file, for a signer of this user; remedy is a constant. */
hf_row_state hf_doctor_judge_file(hf_file_kind kind, const struct stat *info, uid_t uid, gid_t gid,
                                  const char **ret_remedy);

#endif
