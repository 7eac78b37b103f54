/*
 * holdfast-loader: opens key files for the keeper, and goes.
 *
 * In: the configuration on descriptor 3, the keeper on 4, in import mode the keystore on 5. The
 * way: list the folders, survey the files in sandboxed children, close the sandbox, ask the keeper
 * which files it has already, open the rest with one forked worker each.
 */
#include "loader_internal.h"

#include <sched.h>
#include <sodium.h>

/* The most memory that the self-test's key derivation may take. */
#define SELF_TEST_BYTES 1024
/* Questions under way: enough to keep both sides busy, few enough for the keeper's socket. */
#define QUESTIONS_AHEAD 32

/* ---- configuration ------------------------------------------------------------------------- */

static bool is_text(const char *text, size_t len)
{
    return memchr(text, '\0', len) != NULL;
}

static bool is_sane(const hf_msg_loader_config *config)
{
    if (!is_text(config->imported_dir, HF_PATH_LEN) || config->source_count > HF_KEY_SOURCES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < config->source_count; i++) {
        const hf_key_source *source = &config->sources[i];
        if (!is_text(source->dir, HF_PATH_LEN) || !is_text(source->password_file, HF_PATH_LEN) ||
            !is_text(source->password_dir, HF_PATH_LEN) || source->dir[0] != '/' ||
            source->backend >= HF_BACKEND_COUNT) {
            return false;
        }
    }
    return true;
}

static hf_status receive_config(hf_msg_loader_config *ret_config, hf_error *err)
{
    hf_status st = hf_frame_recv_config(HF_FD_CONTROL, HF_MSG_LOADER_CONFIG, ret_config, err);
    if (hf_failed(st)) {
        return st;
    }
    if (!is_sane(ret_config)) {
        return hf_fail(err, HF_INVALID_INPUT, "malformed configuration frame");
    }
    return hf_ok();
}

/* ---- preparation --------------------------------------------------------------------------- */

static unsigned count_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

/*
 * Writes a keystore and opens it again. A broken library shows before any key is touched, and what
 * the libraries set up on first use is there for all workers instead of once in each.
 */
static hf_status test_crypto(hf_error *err)
{
    static const uint8_t secret[HF_BLS_SECRET_BYTES] = {[HF_BLS_SECRET_BYTES - 1] = 7};
    const hf_keystore_options options = {.kdf = HF_KDF_PBKDF2, .cost = 1, .path = ""};
    const hf_keystore_limits limits = {SELF_TEST_BYTES};
    const hf_bytes password = hf_bytes_from("self-test", 9);
    hf_bls_key key;
    hf_bls_key again = {.scalar = {0}};
    hf_buf *json = NULL;
    hf_status st = {sodium_init() < 0 ? HF_CRYPTO : HF_OK};
    if (!hf_failed(st)) {
        st = hf_bls_key_from_bytes(secret, &key);
    }
    if (!hf_failed(st)) {
        st = hf_keystore_encrypt(&key, password, &options, &json, err);
    }
    if (!hf_failed(st)) {
        st = hf_keystore_decrypt(hf_bytes_from(hf_buf_peek(json), hf_buf_len(json)), password,
                                 &limits, &again, err);
    }
    hf_buf_free(json);
    if (hf_failed(st) || !hf_secret_equal(&key, &again, sizeof key)) {
        return hf_fail(err, HF_CRYPTO, "the self-test of the cryptography failed");
    }
    return hf_ok();
}

static hf_status prepare(hf_loader *loader, hf_error *err)
{
    const hf_msg_loader_config *config = &loader->config;
    int last_fd = config->is_import ? HF_FD_IMPORT : HF_FD_KEEPER;
    hf_log_init("loader", (hf_log_format)config->log.format, (hf_log_level)config->log.least);
    hf_status st = hf_harden_process(&config->hardening, last_fd, &loader->report, err);
    if (hf_failed(st)) {
        return st;
    }
    loader->workers = config->workers != 0 ? config->workers : count_cores();
    loader->budget.total_bytes = hf_memory_budget_bytes(config->kdf_memory_bytes);
    return test_crypto(err);
}

/* ---- a load over all sources --------------------------------------------------------------- */

/* Lists one source; what goes wrong there is told to the keeper later and stops no other. */
static void list_source(hf_loader *loader, const hf_key_source *source)
{
    hf_source_failure *failure = &loader->failures[loader->failure_count];
    size_t before = loader->files.count;
    hf_status st = hf_custody_list(source, &loader->files, &failure->err);
    if (hf_failed(st)) {
        failure->dir = source->dir;
        loader->failure_count++;
        loader->is_incomplete = loader->is_incomplete || st.code != HF_NOT_FOUND;
    } else if (loader->files.count == before && source->backend != HF_BACKEND_IMPORTED) {
        hf_log(HF_LOG_UNUSUAL, "key_source_empty", "%s (%s): no key files", source->dir,
               hf_key_backend_name((hf_key_backend)source->backend));
    }
}

static void list_all(hf_loader *loader)
{
    const hf_msg_loader_config *config = &loader->config;
    static hf_key_source imported = {.backend = HF_BACKEND_IMPORTED, .place = HF_SOURCE_NONE};
    for (uint32_t i = 0; i < config->source_count; i++) {
        list_source(loader, &config->sources[i]);
    }
    if (config->imported_dir[0] != '\0') {
        memcpy(imported.dir, config->imported_dir, sizeof imported.dir);
        list_source(loader, &imported);
    }
}

static hf_status send_count(hf_msg_type type, size_t count)
{
    hf_msg_load_count frame = {.count = (uint32_t)count};
    hf_frame_init(&frame, type, 0);
    return hf_loader_send(&frame);
}

static hf_status announce_failures(hf_loader *loader)
{
    hf_status st = hf_ok();
    for (size_t i = 0; i < loader->failure_count && !hf_failed(st); i++) {
        uint8_t id[HF_SOURCE_ID_LEN];
        const hf_source_failure *failure = &loader->failures[i];
        hf_custody_source_id(failure->dir, 0, id);
        st = hf_loader_send_failure(id, failure->dir, failure->err.msg);
        loader->failed++;
    }
    return st;
}

static hf_status ask(const hf_key_file *file, uint64_t request_id)
{
    hf_msg_source question = {.stamp = file->stamp};
    hf_frame_init(&question, HF_MSG_SOURCE, request_id);
    memcpy(question.source_id, file->source_id, HF_SOURCE_ID_LEN);
    return hf_loader_send(&question);
}

/* Takes the answer about one file and notes it when the keeper wants it opened. */
static hf_status hear(hf_loader *loader, size_t place)
{
    hf_msg_source_reply answer = {.known = 0};
    hf_status st = hf_loader_receive(HF_CHANNEL_LOADER, HF_MSG_SOURCE_REPLY, place + 1, &answer);
    if (!hf_failed(st) && answer.known == 0) {
        loader->todo[loader->todo_count++] = (uint32_t)place;
    }
    return st;
}

/* Names every file to the keeper and notes those it wants opened. */
static hf_status announce(hf_loader *loader, hf_error *err)
{
    size_t n = loader->files.count;
    size_t asked = 0;
    size_t heard = 0;
    loader->todo = calloc(n + 1, sizeof *loader->todo);
    if (loader->todo == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_status st = send_count(HF_MSG_LOAD_BEGIN, n + loader->failure_count);
    if (!hf_failed(st)) {
        st = announce_failures(loader);
    }
    while (heard < n && !hf_failed(st)) {
        if (asked < n && asked - heard < QUESTIONS_AHEAD) {
            st = ask(&loader->files.files[asked], asked + 1);
            asked++;
        } else {
            st = hear(loader, heard);
            heard++;
        }
    }
    return hf_failed(st) ? hf_fail(err, st.code, "the keeper is gone or does not answer") : st;
}

static hf_status finish(hf_loader *loader, uint64_t started_ns, hf_error *err)
{
    uint64_t ms = (hf_time_mono_ns() - started_ns) / UINT64_C(1000000);
    hf_log(HF_LOG_INFO, "key_files_read",
           "%zu key files: %zu known, %zu opened in %llu.%03llu s, "
           "%u failures",
           loader->files.count, loader->files.count - loader->todo_count, loader->todo_count,
           (unsigned long long)(ms / 1000), (unsigned long long)(ms % 1000), loader->failed);
    if (loader->is_incomplete) {
        /* Without LOAD_DONE the keeper keeps the keys of a folder that cannot be read just now. */
        return hf_fail(err, HF_IO, "%s", loader->failures[0].err.msg);
    }
    hf_status st = send_count(HF_MSG_LOAD_DONE, loader->failed);
    return hf_failed(st) ? hf_fail(err, st.code, "the keeper is gone") : st;
}

static hf_status load(hf_loader *loader, hf_error *err)
{
    uint64_t started_ns = hf_time_mono_ns();
    list_all(loader);
    hf_status st = hf_loader_survey(loader, err);
    if (!hf_failed(st)) {
        st = hf_loader_close_sandbox(loader, err);
    }
    if (!hf_failed(st)) {
        st = announce(loader, err);
    }
    if (!hf_failed(st)) {
        st = hf_loader_work(loader, err);
    }
    return hf_failed(st) ? st : finish(loader, started_ns, err);
}

int main(void)
{
    static hf_loader loader;
    hf_error err = {HF_OK, ""};
    hf_status st = receive_config(&loader.config, &err);
    if (!hf_failed(st)) {
        st = prepare(&loader, &err);
    }
    if (!hf_failed(st)) {
        st = loader.config.is_import ? hf_loader_import(&loader, &err) : load(&loader, &err);
    }
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "loader_failed", "%s", err.msg);
    }
    hf_key_list_done(&loader.files);
    free(loader.todo);
    return hf_failed(st) ? 1 : 0;
}
