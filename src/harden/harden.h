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

/* A folder that stays reachable under Landlock; access beyond the list is refused. */
typedef struct hf_harden_path {
    const char *path;
    bool writable; /* create, write, truncate, unlink and rename files beneath */
} hf_harden_path;

/* Landlock: files only beneath the given paths, no TCP bind or connect where the kernel knows it. */
hf_status hf_harden_landlock(const hf_hardening_config *config, const hf_harden_path *paths,
                             size_t n, hf_harden_report *report, hf_error *err) HF_MUST_CHECK;

typedef enum hf_sandbox {
    HF_SANDBOX_KEEPER, /* frames, the store's files, threads that exist; no socket, no exec */
    HF_SANDBOX_FRONT,  /* sockets accepted, frames, memfd; no file, no exec, no new socket */
    HF_SANDBOX_LOADER  /* read files, fork workers, frames; no socket, no exec */
} hf_sandbox;

/* seccomp-bpf, default kill (errno for what libc only probes), on every thread (TSYNC). */
hf_status hf_harden_seccomp(const hf_hardening_config *config, hf_sandbox sandbox,
                            hf_harden_report *report, hf_error *err) HF_MUST_CHECK;

/* Adds a line of one's own, such as mlock from the slab. */
void hf_harden_note(hf_harden_report *report, const char *name, hf_protection_state state,
                    const char *detail);

#endif
