/*
 * What the loader learns before it decrypts anything. Key files are parsed in children that can
 * read files and nothing else; facts come back through memory shared with them, which is checked
 * like anything a stranger wrote.
 */
#include "loader_internal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Room for the facts of one child: it ends when a whole YAML file might not fit any more. */
#define RECORDS_MAX 1024
#define EXIT_CANNOT_HARDEN 70
/* Processor time of one child. */
#define CHILD_SECONDS 120

_Static_assert(RECORDS_MAX > HF_KEY_DOCUMENTS_MAX, "every file fits an empty page");

typedef struct record {
    uint32_t file; /* place in loader->files */
    uint32_t reserved;
    hf_key_facts facts;
} record;

typedef struct survey_page {
    uint32_t files_done;
    uint32_t count;
    record records[RECORDS_MAX];
} survey_page;

/* ---- in the child -------------------------------------------------------------------------- */

static void survey_files(const hf_loader *loader, size_t first, survey_page *page)
{
    static hf_key_facts facts[HF_KEY_DOCUMENTS_MAX];
    for (size_t i = first; i < loader->files.count; i++) {
        if (page->count + HF_KEY_DOCUMENTS_MAX > RECORDS_MAX) {
            return;
        }
        size_t n = hf_custody_survey(&loader->files.files[i], facts);
        for (size_t k = 0; k < n; k++) {
            page->records[page->count + k] = (record){.file = (uint32_t)i, .facts = facts[k]};
        }
        page->count += (uint32_t)n;
        page->files_done++;
    }
}

static _Noreturn void run_child(const hf_loader *loader, size_t first, survey_page *page)
{
    const hf_harden_path everything = {.path = "/"};
    hf_harden_report report = {.count = 0};
    hf_error err = {HF_OK, ""};
    (void)close(HF_FD_KEEPER);
    (void)close(HF_FD_CONTROL);
    hf_loader_limit_time(CHILD_SECONDS);
    hf_status st = hf_harden_landlock(&loader->config.hardening, &everything, 1, &report, &err);
    if (!hf_failed(st)) {
        st = hf_harden_seccomp(&loader->config.hardening, HF_SANDBOX_LOADER, &report, &err);
    }
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "hardening_failed", "%s", err.msg);
        _exit(EXIT_CANNOT_HARDEN);
    }
    survey_files(loader, first, page);
    _exit(0);
}

/* ---- in the parent ------------------------------------------------------------------------- */

static void terminate_strings(hf_key_facts *facts)
{
    facts->keystore_path[HF_PATH_LEN - 1] = '\0';
    facts->password_path[HF_PATH_LEN - 1] = '\0';
}

/* The copy in the list owns its own texts: facts may be overwritten afterwards. */
static hf_status add_surveyed(const hf_loader *loader, size_t file, hf_key_facts *facts,
                              hf_key_list *list)
{
    hf_key_file copy = loader->files.files[file];
    if (facts->is_foreign) {
        hf_log(HF_LOG_DEBUG, "key_file_ignored", "%s: no keystore, left out", copy.path);
        return hf_ok();
    }
    copy.document = facts->document;
    copy.stamp = facts->stamp;
    copy.kdf_memory_bytes = facts->kdf_memory_bytes;
    if (facts->keystore_path[0] != '\0') {
        copy.keystore_path = facts->keystore_path;
        copy.password_path = facts->password_path;
    }
    hf_custody_source_id(copy.path, copy.document, copy.source_id);
    return hf_key_list_add(list, &copy);
}

static hf_status take_page(hf_loader *loader, size_t first, survey_page *page, hf_key_list *list)
{
    size_t last = first;
    uint32_t count = page->count;
    if (count > RECORDS_MAX || page->files_done > loader->files.count - first) {
        return (hf_status){HF_CORRUPT};
    }
    for (uint32_t i = 0; i < count; i++) {
        record r = page->records[i];
        if (r.file < last || r.file >= first + page->files_done) {
            return (hf_status){HF_CORRUPT};
        }
        last = r.file;
        terminate_strings(&r.facts);
        hf_status st = add_surveyed(loader, r.file, &r.facts, list);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

static hf_status start_child(const hf_loader *loader, size_t first, survey_page *page,
                             int *ret_wait_status)
{
    pid_t child = fork();
    if (child == 0) {
        run_child(loader, first, page);
    }
    if (child < 0 || waitpid(child, ret_wait_status, 0) != child) {
        return (hf_status){HF_UNAVAILABLE};
    }
    return hf_ok();
}

/* Surveys from *at on with one child, and moves *at behind what is settled. */
static hf_status survey_some(hf_loader *loader, size_t *at, survey_page *page, hf_key_list *list)
{
    static hf_key_facts no_facts = {.stamp = 0};
    int status = 0;
    page->files_done = 0;
    page->count = 0;
    hf_status st = start_child(loader, *at, page, &status);
    if (!hf_failed(st) && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CANNOT_HARDEN) {
        return (hf_status){HF_UNAVAILABLE};
    }
    if (!hf_failed(st)) {
        st = take_page(loader, *at, page, list);
    }
    if (hf_failed(st)) {
        return st;
    }
    *at += page->files_done;
    bool is_stuck = !WIFEXITED(status) || WEXITSTATUS(status) != 0 || page->files_done == 0;
    if (is_stuck && *at < loader->files.count) {
        /* This file's worker will die of it too, and be reported. */
        st = add_surveyed(loader, *at, &no_facts, list);
        *at += 1;
    }
    return st;
}

hf_status hf_loader_survey(hf_loader *loader, hf_error *err)
{
    hf_key_list list = {NULL, 0, 0};
    hf_status st = hf_ok();
    survey_page *page =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    for (size_t at = 0; at < loader->files.count && !hf_failed(st);) {
        st = survey_some(loader, &at, page, &list);
    }
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "the key files could not be surveyed (%s)",
                     hf_code_name(st.code));
    } else {
        const hf_key_list before = loader->files;
        loader->files = list;
        list = before;
    }
    hf_key_list_done(&list);
    (void)munmap(page, sizeof *page);
    return st;
}

/* ---- the loader's own sandbox -------------------------------------------------------------- */

typedef struct path_list {
    hf_harden_path *paths;
    size_t count;
    size_t capacity;
} path_list;

static void allow(path_list *list, const char *path, bool writable)
{
    HF_ASSERT(list->count < list->capacity);
    if (path != NULL && path[0] != '\0') {
        list->paths[list->count++] = (hf_harden_path){.path = path, .writable = writable};
    }
}

/* A link may lead out of its folder: the file behind it is let in, not the place where it lies. */
static void allow_if_link(path_list *list, const char *path)
{
    struct stat info;
    if (path != NULL && lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        allow(list, path, false);
    }
}

static void collect_paths(const hf_loader *loader, path_list *list)
{
    const hf_msg_loader_config *config = &loader->config;
    allow(list, config->imported_dir, config->is_import != 0);
    for (uint32_t i = 0; i < config->source_count; i++) {
        allow(list, config->sources[i].dir, false);
        allow(list, config->sources[i].password_file, false);
        allow(list, config->sources[i].password_dir, false);
    }
    for (size_t i = 0; i < loader->files.count; i++) {
        const hf_key_file *file = &loader->files.files[i];
        allow_if_link(list, file->path);
        if (file->keystore_path != NULL) {
            /* What a YAML file names may lie anywhere. */
            allow(list, file->keystore_path, false);
            allow(list, file->password_path, false);
        } else {
            allow_if_link(list, file->password_path);
        }
    }
}

hf_status hf_loader_close_sandbox(hf_loader *loader, hf_error *err)
{
    path_list list = {.count = 0};
    list.capacity = 1 + 3 * HF_KEY_SOURCES_MAX + 3 * loader->files.count;
    list.paths = calloc(list.capacity, sizeof *list.paths);
    if (list.paths == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    collect_paths(loader, &list);
    hf_status st =
        hf_harden_landlock(&loader->config.hardening, list.paths, list.count, &loader->report, err);
    if (!hf_failed(st)) {
        st = hf_harden_seccomp(&loader->config.hardening, HF_SANDBOX_LOADER, &loader->report, err);
    }
    free(list.paths);
    for (uint32_t i = 0; i < loader->report.count && !hf_failed(st); i++) {
        const hf_protection *got = &loader->report.items[i];
        hf_log(HF_LOG_DEBUG, "protection", "%s: %s (%s)", got->name,
               got->state == HF_PROTECTION_ON ? "on" : "off", got->detail);
    }
    return st;
}
