/*
 * harden: what a process may still do once it runs. Each child calls these in this order, before it
 * reads a byte that a stranger wrote; each reports what was really got, for status and metrics.
 *
 * A requirement "require" that cannot be had is an error (the start stops); "prefer" reports
 * UNAVAILABLE; "off" reports OFF.
 */
#ifndef HF_HARDEN_H
#define HF_HARDEN_H

#include "base/base.h"
#include "ipc/ipc.h"

typedef struct hf_harden_report {
    uint32_t count;
    hf_protection items[HF_PROTECTIONS_MAX];
} hf_harden_report;

/*
 * First thing in main: standard descriptors open, all others above last_fd closed, umask 077, not
 * dumpable, RLIMIT_CORE 0, no_new_privs, every capability dropped, death of the parent kills us.
 */
hf_status hf_harden_process(const hf_hardening_config *config, int last_fd,
                            hf_harden_report *report, hf_error *err) HF_MUST_CHECK;

/* The part of it that a parent needs as well: no dumps, no_new_privs, no capabilities. */
hf_status hf_harden_privileges(const hf_hardening_config *config, hf_harden_report *report,
                               hf_error *err) HF_MUST_CHECK;

/*
 * SIGKILL when the parent dies; NOT_FOUND when it is dead already. hf_harden_process does it for
 * the process that calls it; a forked worker does not inherit it and calls this itself.
 */
hf_status hf_harden_die_with_parent(pid_t parent, hf_error *err) HF_MUST_CHECK;

/*
 * A folder or file that stays reachable under Landlock; access beyond the list is refused. One that
 * does not exist is passed over, and stays out of reach when it is made later.
 */
typedef struct hf_harden_path {
    const char *path;
    bool writable;  /* create, write, truncate, unlink and rename files beneath */
    bool is_device; /* devices beneath may be written and controlled */
} hf_harden_path;

/* What opening connections takes on any machine: name resolution, authorities. Ends with NULL. */
extern const char *const hf_harden_network_paths[];

/*
 * Landlock: files only beneath the given paths; where the kernel knows it, no TCP bind or connect
 * and no signal to a process outside. It holds for the calling thread and what that thread starts
 * later: call it before the first thread.
 */
hf_status hf_harden_landlock(const hf_hardening_config *config, const hf_harden_path *paths,
                             size_t n, hf_harden_report *report, hf_error *err) HF_MUST_CHECK;

/* The same for a process that opens connections: TCP connect stays, bind does not. */
hf_status hf_harden_landlock_connecting(const hf_hardening_config *config,
                                        const hf_harden_path *paths, size_t n,
                                        hf_harden_report *report, hf_error *err) HF_MUST_CHECK;

typedef enum hf_sandbox {
    HF_SANDBOX_KEEPER = 0, /* frames, the store's files, threads that exist; no socket, no exec */
    HF_SANDBOX_FRONT,      /* sockets accepted, frames, memfd; no file, no exec, no new socket */
    HF_SANDBOX_LOADER,     /* read files, fork workers, frames; no socket, no exec */
    HF_SANDBOX_STORE,      /* read files, connect, threads; no listening, no fork, no exec */
    HF_SANDBOX_MODULE,     /* the same around foreign code, which is told "not permitted" and lives:
                              files, devices, code loaded later; no listening, no fork, no exec */
    HF_SANDBOX_SUPERVISOR  /* starts programs, which inherit it: only what none of them ever does
                              kills */
} hf_sandbox;

/*
 * seccomp-bpf, default kill (errno for what libc only probes), on every thread (TSYNC). The keeper
 * starts no thread afterwards. The front may, but reaches no file: what it reads, it has read.
 * So may the store, which reads files and writes none.
 * A sanitizer build cannot have it.
 */
hf_status hf_harden_seccomp(const hf_hardening_config *config, hf_sandbox sandbox,
                            hf_harden_report *report, hf_error *err) HF_MUST_CHECK;

/* Adds a line of one's own, such as mlock from the slab. */
void hf_harden_note(hf_harden_report *report, const char *name, hf_protection_state state,
                    const char *detail);

#endif
