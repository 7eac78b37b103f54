/* What the files of the writer share. */
#ifndef HF_AUDIT_INTERNAL_H
#define HF_AUDIT_INTERNAL_H

#include "audit/audit.h"

#include <sys/stat.h>

#define HF_AUDIT_JOURNAL_BYTES ((uint64_t)4 << 20)
#define HF_AUDIT_NAME_LEN (HF_AUDIT_PATH_LEN + 48)

struct hf_audit_log {
    hf_audit_config config;
    int fd;
    uint64_t size; /* of what counts; bytes behind it are of a group that failed */
    bool is_unsynced;
    int journal_fd; /* -1: not strict */
    uint64_t journal_at;
    hf_audit_chain committed;
    hf_audit_chain chain; /* with the group under way */
    char *group;
    size_t used;
    bool is_over; /* the group was committed or given up: the next add begins another */
    bool is_good; /* and it was committed */
    uint64_t rotations;
    char notice[HF_AUDIT_TEXT_LEN]; /* what hf_audit_log_tend met */
};

int64_t hf_audit_now_us(void);
hf_status hf_audit_pwrite_all(int fd, const void *bytes, size_t len, uint64_t at) HF_MUST_CHECK;
/* Makes the names in the file's folder durable. */
hf_status hf_audit_sync_folder(const char *path, hf_error *err) HF_MUST_CHECK;
/* A new file under the log's name, or under another one: its first line is durable. */
hf_status hf_audit_begin_file(hf_audit_log *log, const char *path, int *ret_fd,
                              hf_error *err) HF_MUST_CHECK;
hf_status hf_audit_open_journal(hf_audit_log *log, hf_error *err) HF_MUST_CHECK;
/* mend.c */
hf_status hf_audit_find_end(hf_audit_log *log, const hf_audit_head *anchor,
                            hf_audit_opening *opening, hf_error *err) HF_MUST_CHECK;

#endif
