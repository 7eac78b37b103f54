/* supervisor, inside: the children, the state of the whole, and what its files offer each other. */
#ifndef HF_SUPERVISOR_INTERNAL_H
#define HF_SUPERVISOR_INTERNAL_H

#include "harden/harden.h"
#include "supervisor/supervisor.h"

#define HF_FRONTS_MAX 64
#define HF_IMPORTS_MAX                                                                             \
    4 /* keystores imported at one time; the keeper asks for one after another                     \
       */
/* Each front twice, while its successor takes over. */
#define HF_CHILDREN_MAX (1 + 2 * HF_FRONTS_MAX + 1 + HF_IMPORTS_MAX + 3 + HF_CUSTODIES_MAX)
#define HF_SECOND_NS UINT64_C(1000000000)
#define HF_ADDRESS_LEN 96

/* ---- sockets (listen.c) ------------------------------------------------------------------- */

/* text becomes "127.0.0.1:9000", with the port that was really got. */
hf_status hf_listen_tcp(const char *address, uint16_t port, int *ret_fd, char text[HF_ADDRESS_LEN],
                        hf_error *err) HF_MUST_CHECK;
/* DATA_DIR/admin.sock, mode 0600; one that an earlier run left is replaced (the lock is held). */
hf_status hf_listen_admin(const char *data_dir, int *ret_fd, hf_error *err) HF_MUST_CHECK;
void hf_unlink_admin(const char *data_dir);
/* NOT_FOUND: nobody waits. DENIED: another user, turned away. */
hf_status hf_accept_admin(int listen_fd, int *ret_fd) HF_MUST_CHECK;

/* ---- the start guard's page in memory (witness.c) ------------------------------------------ */

/*
 * A small file on a file system of memory, named after the data folder itself, so that a copy of
 * the folder finds none. *ret_fd is -1, with a log line, where there is no such file system.
 */
void hf_witness_open(const char *data_dir, int *ret_fd);
/* Of this run of the machine; zeros when it cannot be read: then nothing in memory is believed. */
void hf_boot_id_read(uint8_t ret_id[HF_BOOT_ID_BYTES]);

/* ---- programs (spawn.c) ------------------------------------------------------------------- */

#define HF_SPAWN_FDS_MAX 5
typedef struct hf_spawn_plan {
    const char *program;       /* absolute path */
    int fds[HF_SPAWN_FDS_MAX]; /* become descriptors 3, 4, ... of the child */
    size_t fd_count;
    bool keeps_stdout; /* writes to our standard output */
    bool knows_aws;    /* gets HOME and the variables that AWS's programs read */
} hf_spawn_plan;

hf_status hf_spawn(const hf_spawn_plan *plan, pid_t *ret_pid, hf_error *err) HF_MUST_CHECK;
/* "was killed by signal 9 (Killed)" and so on, from the status of wait. */
void hf_describe_exit(int status, char *out, size_t out_len);
/* As many descriptors and as much locked memory as this machine lets us have. */
void hf_raise_limits(void);

/* ---- service manager (notify.c) ----------------------------------------------------------- */

/* Sends state ("READY=1") to $NOTIFY_SOCKET; nothing happens where there is none. */
void hf_notify(const char *state);

/* ---- TLS files (tls_watch.c) -------------------------------------------------------------- */

#define HF_TLS_FILES 4
typedef struct hf_file_stamp {
    uint64_t inode;
    int64_t size;
    int64_t mtime_ns;
} hf_file_stamp;

typedef struct hf_tls_watch {
    hf_file_stamp stamps[HF_TLS_FILES];
} hf_tls_watch;

/* Notes how the files are now; true when one differs from the last time. */
bool hf_tls_watch_look(hf_tls_watch *watch, const hf_config *config);

/* ---- children (children.c) ---------------------------------------------------------------- */

typedef enum hf_child_kind {
    HF_CHILD_KEEPER = 0,
    HF_CHILD_FRONT,
    HF_CHILD_LOADER,
    HF_CHILD_IMPORT,
    HF_CHILD_DUTY,
    HF_CHILD_STORE,
    HF_CHILD_CUSTODY,
    HF_CHILD_RELAY
} hf_child_kind;

typedef struct hf_child {
    pid_t pid; /* 0: this place is free */
    hf_child_kind kind;
    uint32_t slot;  /* of a front, or of a back end of custody */
    int control_fd; /* -1 once its other end is gone */
    uint64_t started_ns;
    uint64_t kill_at_ns; /* 0: no deadline; once it is ready, that of its next sign of life */
    bool is_ready;
    bool is_draining; /* told to stop */
} hf_child;

/* A place that one process of a kind fills, again and again. */
typedef struct hf_slot {
    uint64_t start_at_ns; /* 0: filled */
    uint32_t failures;    /* early deaths in a row */
} hf_slot;

typedef enum hf_phase {
    HF_PHASE_KEEPER = 0, /* the keeper opens its store */
    HF_PHASE_STORE,      /* the store process starts, where there is one */
    HF_PHASE_FRONTS,     /* the first fronts start */
    HF_PHASE_SERVING,
    HF_PHASE_STOP_FRONTS,
    HF_PHASE_STOP_KEEPER,
    HF_PHASE_DONE
} hf_phase;

typedef struct hf_supervisor {
    const hf_config *config;
    const hf_config_flags *flags; /* to read policies again */
    hf_phase phase;
    int exit_status;
    char programs_dir[HF_PATH_LEN];
    int lock_fd;
    int signal_fd;
    int api_fd;
    int metrics_fd; /* -1: off */
    int admin_fd;
    int reload_fd; /* our own admin channel while a reload is answered, else -1 */
    bool load_wanted;
    bool tls_is_stale; /* new TLS files: fronts are being replaced */
    uint64_t tls_look_at_ns;
    uint64_t watchdog_at_ns;
    hf_tls_watch tls_watch;
    hf_slot slots[HF_FRONTS_MAX];
    hf_slot duty_slot;
    hf_slot store_slot;
    hf_slot relay_slot;
    hf_slot custody_slots[HF_CUSTODIES_MAX];
    hf_child children[HF_CHILDREN_MAX];
} hf_supervisor;

hf_status hf_start_keeper(hf_supervisor *sup, hf_error *err) HF_MUST_CHECK;
/* Does the configuration need one? */
bool hf_has_store(const hf_config *config);
hf_status hf_start_store(hf_supervisor *sup, hf_error *err) HF_MUST_CHECK;
hf_status hf_start_front(hf_supervisor *sup, uint32_t slot, hf_error *err) HF_MUST_CHECK;
/* The process that asks the database for duty locks, where one is configured. */
hf_status hf_start_duty(hf_supervisor *sup, hf_error *err) HF_MUST_CHECK;
/* The URL as it is in its file now, which may be "": a password may have been renewed since. */
void hf_url_file_read(const char *path, char *url, size_t len);
hf_status hf_start_loader(hf_supervisor *sup, hf_error *err) HF_MUST_CHECK;
/* fd is the keystore and its password; stays open here. */
hf_status hf_start_import(hf_supervisor *sup, int fd, uint64_t request_id,
                          hf_error *err) HF_MUST_CHECK;
/* A channel from the keeper to whoever holds the other end of fd, which stays open here. */
hf_status hf_give_channel(hf_supervisor *sup, int fd, hf_channel channel,
                          uint64_t request_id) HF_MUST_CHECK;

/*
 * Starts a program whose first frame, config, waits for it in its control channel; fds follow that
 * channel from descriptor 4 on and stay open here.
 */
hf_status hf_child_start(hf_supervisor *sup, hf_child_kind kind, const void *config, const int *fds,
                         size_t fd_count, bool knows_aws, hf_child **ret_child,
                         hf_error *err) HF_MUST_CHECK;
/* The first end is the child's, which may block; the second ours or the keeper's, which may not. */
hf_status hf_pair_open(int pair[2], hf_error *err) HF_MUST_CHECK;
void hf_pair_close(int pair[2]);

hf_child *hf_child_by_pid(hf_supervisor *sup, pid_t pid);
hf_child *hf_child_keeper(hf_supervisor *sup); /* NULL: not running */
size_t hf_children_count(const hf_supervisor *sup, hf_child_kind kind);
/* Tells it to stop, and kills it when it has not within grace_ns. */
void hf_child_stop(hf_child *child, uint64_t grace_ns);
void hf_child_close_control(hf_child *child);
/* Another in its place: at once, and later each time when it ends as soon as it is started. */
void hf_slot_schedule(hf_slot *slot, const hf_child *child, bool is_started);
const char *hf_child_name(hf_child_kind kind);

/* ---- alive.c: children that hang ---------------------------------------------------------- */

/* A sign of life: the next one is due within so long. */
#define HF_SILENCE_SECONDS 5U
#define HF_KEEPER_SILENCE_SECONDS 10U
unsigned hf_child_silence_seconds(const hf_child *child);
void hf_child_heard(hf_child *child);
/* Is it of a kind that gives signs of life; and has it to, as it is ready and not told to stop? */
bool hf_child_gives_signs(const hf_child *child);
bool hf_child_is_watched(const hf_child *child);
/* We were asleep ourselves, and maybe all of us: silence meanwhile counts for nothing. */
void hf_forgive_silence(hf_supervisor *sup);

/* ---- custody.c ---------------------------------------------------------------------------- */

#define HF_CUSTODY_FDS 2
/* Starts those that are due. */
void hf_start_custodies(hf_supervisor *sup, uint64_t now_ns);
void hf_custody_ended(hf_supervisor *sup, const hf_child *child, int status, const char *how);

/* ---- relay.c ------------------------------------------------------------------------------ */

bool hf_has_relay(const hf_config *config);
void hf_relay_start_due(hf_supervisor *sup, uint64_t now_ns);
/* Gives a front that was just started its channel to the relay, where there is one. */
void hf_relay_connect(hf_supervisor *sup, const hf_child *front);
void hf_relay_ended(hf_supervisor *sup, const hf_child *child, int status, const char *how);

/* ---- policies.c ---------------------------------------------------------------------------- */

/* Reads policies, limits and canary keys and hands them to the keeper. */
hf_status hf_give_book(hf_supervisor *sup, hf_error *err) HF_MUST_CHECK;
/* The same while it runs: what is wrong is logged, and the ones before stay. */
void hf_reload_book(hf_supervisor *sup);
void hf_on_canary(hf_supervisor *sup, const hf_msg_canary *frame);

/* ---- machines.c ---------------------------------------------------------------------------- */

/* Hands the keeper the share's key of each holder that is a key file here. */
void hf_give_key_files(hf_supervisor *sup, const hf_child *keeper);

/* ---- reload.c ------------------------------------------------------------------------------ */

/* Notes new TLS files: fronts are then replaced. */
void hf_look_at_tls(hf_supervisor *sup);
/* As POST /reload, over an admin channel of our own; the answer is logged when it comes. */
void hf_reload_keys(hf_supervisor *sup);

/* ---- running (loop.c, events.c) ----------------------------------------------------------- */

/* Until the phase is DONE. */
void hf_supervise(hf_supervisor *sup);

void hf_on_signals(hf_supervisor *sup);
void hf_on_admin(hf_supervisor *sup);
void hf_on_reload_answer(hf_supervisor *sup);
void hf_on_control(hf_supervisor *sup, hf_child *child);
/* What time alone brings: deadlines, restarts, TLS files. */
void hf_on_time(hf_supervisor *sup, uint64_t now_ns);
/* Begins the orderly end; exit_status 0 when it was asked for. */
void hf_stop_all(hf_supervisor *sup, int exit_status);

#endif
