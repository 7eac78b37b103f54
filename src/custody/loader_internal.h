/* holdfast-loader, inside: the steps of one run. None of this is for other programs. */
#ifndef HF_LOADER_INTERNAL_H
#define HF_LOADER_INTERNAL_H

#include "custody.h"
#include "harden/harden.h"

/* A source that could not be listed. */
typedef struct hf_source_failure {
    const char *dir; /* borrowed from the configuration */
    hf_error err;
} hf_source_failure;

typedef struct hf_loader {
    hf_msg_loader_config config;
    hf_harden_report report;
    hf_memory_budget budget;
    unsigned workers;
    hf_key_list files; /* all of them; surveyed once hf_loader_survey ran */
    uint32_t *todo;    /* those that the keeper does not know, as places in files */
    size_t todo_count;
    uint32_t failed; /* files, and sources that could not be listed */
    hf_source_failure failures[HF_KEY_SOURCES_MAX + 1];
    size_t failure_count;
    bool is_incomplete; /* a folder is there and could not be read: nothing may be dropped */
} hf_loader;

/* ---- loader_survey.c ----------------------------------------------------------------------- */

/*
 * Fills in stamp and memory of loader->files, leaves out foreign files and splits YAML files into
 * their documents. Foreign bytes are parsed in sandboxed children only; one that dies costs the
 * file it was at nothing but the facts.
 */
hf_status hf_loader_survey(hf_loader *loader, hf_error *err) HF_MUST_CHECK;

/* The sandbox of the loader itself: its folders, and single files elsewhere that they lead to. */
hf_status hf_loader_close_sandbox(hf_loader *loader, hf_error *err) HF_MUST_CHECK;

/* ---- loader_work.c ------------------------------------------------------------------------- */

/* Opens loader->todo with forked workers, one file each, within the budget. */
hf_status hf_loader_work(hf_loader *loader, hf_error *err) HF_MUST_CHECK;

/* Sends to the keeper, waiting while its socket is full. NOT_FOUND: it is gone. */
hf_status hf_loader_send(const void *frame) HF_MUST_CHECK;
/* Receives the keeper's answer of the given type to request_id into ret_frame (its exact size). */
hf_status hf_loader_receive(hf_channel channel, hf_msg_type type, uint64_t request_id,
                            void *ret_frame) HF_MUST_CHECK;
/* KEY_FAILED. name may hold any bytes. */
hf_status hf_loader_send_failure(const uint8_t source_id[HF_SOURCE_ID_LEN], const char *name,
                                 const char *detail) HF_MUST_CHECK;
hf_status hf_loader_send_key(const hf_key_file *file, const hf_opened_key *key) HF_MUST_CHECK;

/* Processor time that one file may take. */
unsigned hf_loader_file_seconds(const hf_loader *loader);
/* The kernel ends this process with SIGXCPU after so much processor time, a second later for good.
 */
void hf_loader_limit_time(unsigned seconds);

/* ---- loader_import.c ----------------------------------------------------------------------- */

/* The whole of an import: decrypt, offer to the keeper, keep. */
hf_status hf_loader_import(hf_loader *loader, hf_error *err) HF_MUST_CHECK;

#endif
