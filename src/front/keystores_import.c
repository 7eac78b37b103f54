/*
 * POST /eth/v1/keystores and /api/v1/holdfast/keys/import: slashing history first, all or nothing,
 * and only then the keys, one at a time. The keystores and passwords are handed on in memory files,
 * never decrypted here.
 */
#include "front/front_internal.h"
#include "interchange/interchange.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* More in one request would outlive any client's patience. */
#define KEYSTORES_MAX 1000

typedef struct import_job {
    json_t *root;
    const json_t *keystores; /* borrowed from root */
    const json_t *passwords;
    size_t next; /* keystore */
    hf_message *messages;
    size_t message_count;
    size_t message_cap;
    size_t sent;
    hf_reason failure; /* of the history's import, told once the import is aborted */
    char failure_detail[HF_DETAIL_LEN];
    hf_text text;
    bool is_sealed;        /* into the sealed store */
    hf_msg_sealed_add ask; /* of no keys: the keystore comes along */
    hf_msg_import_add add;
} import_job;

static hf_next next_keystore(hf_exchange *x);
static hf_next send_messages(hf_exchange *x, const void *frame);

static void free_job(void *pointer)
{
    import_job *job = pointer;
    json_decref(job->root);
    free(job->messages);
    hf_wipe(job, sizeof *job);
    free(job);
}

/* ---- the body ------------------------------------------------------------------------------- */

static hf_next malformed(hf_exchange *x, const char *detail)
{
    return hf_front_refuse(x, HF_REASON_MALFORMED, detail);
}

static const char *check_strings(const json_t *array, const char *not_array, const char *not_text)
{
    if (!json_is_array(array)) {
        return not_array;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (!json_is_string(json_array_get(array, i))) {
            return not_text;
        }
    }
    return NULL;
}

/* What is wrong with the body, or NULL. */
static const char *check_body(import_job *job)
{
    if (!json_is_object(job->root)) {
        return "the body must be a JSON object";
    }
    job->keystores = json_object_get(job->root, "keystores");
    job->passwords = json_object_get(job->root, "passwords");
    const char *wrong = check_strings(job->keystores, "keystores: must be an array",
                                      "keystores: each must be a string holding JSON");
    if (wrong == NULL) {
        wrong = check_strings(job->passwords, "passwords: must be an array",
                              "passwords: each must be a string");
    }
    if (wrong != NULL) {
        return wrong;
    }
    if (json_array_size(job->keystores) != json_array_size(job->passwords)) {
        return "passwords: must be as many as keystores";
    }
    const json_t *history = json_object_get(job->root, "slashing_protection");
    if (history != NULL && !json_is_null(history) && !json_is_string(history)) {
        return "slashing_protection: must be a string holding JSON";
    }
    return json_array_size(job->keystores) > KEYSTORES_MAX
               ? "keystores: at most 1000 in one request"
               : NULL;
}

static hf_status collect(void *context, const hf_message *messages, size_t n, hf_error *err)
{
    import_job *job = context;
    if (job->message_count + n > job->message_cap) {
        size_t cap = 2 * job->message_cap + HF_INTERCHANGE_PAGE;
        hf_message *grown = reallocarray(job->messages, cap, sizeof *grown);
        if (grown == NULL) {
            return hf_fail(err, HF_NOMEM, "out of memory");
        }
        job->messages = grown;
        job->message_cap = cap;
    }
    memcpy(job->messages + job->message_count, messages, n * sizeof *messages);
    job->message_count += n;
    return hf_ok();
}

/* ---- the keys ------------------------------------------------------------------------------- */

static void put_outcome(import_job *job, const char *status, const char *message)
{
    hf_text_put(&job->text, "%s{\"status\":\"%s\"", job->next == 0 ? "" : ",", status);
    if (message != NULL && message[0] != '\0') {
        hf_text_put(&job->text, ",\"message\":");
        hf_text_put_json(&job->text, message, strnlen(message, HF_DETAIL_LEN));
    }
    hf_text_put(&job->text, "}");
}

static hf_next key_imported(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    import_job *job = x->job;
    if (job->is_sealed && job->next == 0 && result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    const char *detail = result->detail[0] != '\0'
                             ? result->detail
                             : hf_reason_describe((hf_reason)result->reason)->sentence;
    if (result->reason != HF_REASON_OK || result->value > HF_KEY_DUPLICATE) {
        put_outcome(job, "error", detail);
    } else {
        put_outcome(job, result->value == HF_KEY_IMPORTED ? "imported" : "duplicate", NULL);
    }
    job->next++;
    return next_keystore(x);
}

static hf_next key_unanswered(hf_exchange *x)
{
    import_job *job = x->job;
    put_outcome(job, "error", "not answered in time; it may still be imported");
    job->next++;
    return next_keystore(x);
}

static hf_status write_part(int fd, const json_t *text)
{
    uint32_t len = (uint32_t)json_string_length(text);
    hf_status st = hf_file_write_all(fd, &len, sizeof len);
    return hf_failed(st) ? st : hf_file_write_all(fd, json_string_value(text), len);
}

/* Keystore and password in a sealed memory file (layout: ipc.h). -1 when there is no memory. */
static int pack_keystore(const import_job *job)
{
    int fd = memfd_create("keystore", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -1;
    }
    hf_status st = write_part(fd, json_array_get(job->keystores, job->next));
    if (!hf_failed(st)) {
        st = write_part(fd, json_array_get(job->passwords, job->next));
    }
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    if (hf_failed(st) || fcntl(fd, F_ADD_SEALS, seals) != 0 || lseek(fd, 0, SEEK_SET) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static hf_next next_keystore(hf_exchange *x)
{
    import_job *job = x->job;
    if (job->next == json_array_size(job->keystores)) {
        hf_text_put(&job->text, "]}");
        return hf_front_answer_text(x, 200, HF_CONTENT_JSON, &job->text);
    }
    x->ask_fd = pack_keystore(job);
    if (x->ask_fd < 0) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, "no memory for a keystore");
    }
    x->ask_timeout_ms = HF_FRONT_IMPORT_TIMEOUT_MS;
    x->on_silence = key_unanswered;
    if (job->is_sealed) {
        hf_frame_init(&job->ask, HF_MSG_SEALED_ADD, 0);
        return hf_front_ask(x, &job->ask, HF_MSG_RESULT, key_imported);
    }
    hf_frame_init(&x->frame.ask, HF_MSG_KEY_IMPORT, 0);
    return hf_front_ask(x, &x->frame.ask, HF_MSG_RESULT, key_imported);
}

/* ---- the history ---------------------------------------------------------------------------- */

static hf_next tell_failure(hf_exchange *x)
{
    import_job *job = x->job;
    return hf_front_refused_by_keeper(x, job->failure, job->failure_detail);
}

static hf_next aborted(hf_exchange *x, const void *frame)
{
    (void)frame;
    return tell_failure(x);
}

/* An import left open would keep every other from beginning. */
static hf_next abort_import(hf_exchange *x, hf_reason reason, const char detail[HF_DETAIL_LEN])
{
    import_job *job = x->job;
    job->failure = reason;
    memcpy(job->failure_detail, detail, HF_DETAIL_LEN);
    job->failure_detail[HF_DETAIL_LEN - 1] = '\0';
    x->on_silence = tell_failure;
    return hf_front_ask_simply(x, HF_MSG_IMPORT_ABORT, HF_MSG_RESULT, aborted);
}

static hf_next history_unanswered(hf_exchange *x)
{
    static const char detail[HF_DETAIL_LEN] = "the slashing history was not recorded in time";
    return abort_import(x, HF_REASON_TIMEOUT, detail);
}

static hf_next history_committed(hf_exchange *x, const void *frame)
{
    const hf_msg_import_report *report = frame;
    import_job *job = x->job;
    if (report->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)report->reason, report->detail);
    }
    free(job->messages);
    job->messages = NULL;
    return next_keystore(x);
}

static hf_next history_unknown(hf_exchange *x)
{
    return hf_front_refuse(x, HF_REASON_TIMEOUT, "the slashing history was not recorded in time");
}

static hf_next send_messages(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    import_job *job = x->job;
    if (result->reason != HF_REASON_OK) {
        return abort_import(x, (hf_reason)result->reason, result->detail);
    }
    size_t left = job->message_count - job->sent;
    if (left == 0) {
        x->on_silence = history_unknown;
        return hf_front_ask_simply(x, HF_MSG_IMPORT_COMMIT, HF_MSG_IMPORT_REPORT,
                                   history_committed);
    }
    job->add.count = (uint32_t)(left < HF_EXPORT_PAGE ? left : HF_EXPORT_PAGE);
    memcpy(job->add.messages, job->messages + job->sent,
           job->add.count * sizeof job->add.messages[0]);
    job->sent += job->add.count;
    hf_frame_init(&job->add, HF_MSG_IMPORT_ADD, 0);
    x->on_silence = history_unanswered;
    return hf_front_ask(x, &job->add, HF_MSG_RESULT, send_messages);
}

static hf_next begun(hf_exchange *x, const void *frame)
{
    const hf_msg_result *result = frame;
    if (result->reason != HF_REASON_OK) {
        return hf_front_refused_by_keeper(x, (hf_reason)result->reason, result->detail);
    }
    return send_messages(x, frame);
}

static hf_next import_history(hf_exchange *x, const json_t *history)
{
    import_job *job = x->job;
    hf_error err = {0};
    hf_bytes text = hf_bytes_from(json_string_value(history), json_string_length(history));
    hf_status st =
        hf_interchange_parse(text, x->context->network.genesis_validators_root, collect, job, &err);
    if (hf_failed(st)) {
        st = hf_error_wrap(&err, st, "slashing_protection");
        return hf_front_refuse(x, st.code == HF_NOMEM ? HF_REASON_INTERNAL : HF_REASON_MALFORMED,
                               err.msg);
    }
    hf_frame_init(&x->frame.ask, HF_MSG_IMPORT_BEGIN, 0);
    x->on_silence = history_unanswered;
    return hf_front_ask(x, &x->frame.ask, HF_MSG_RESULT, begun);
}

static hf_next import_into(hf_exchange *x, bool is_sealed)
{
    import_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return hf_front_refuse(x, HF_REASON_INTERNAL, NULL);
    }
    x->job = job;
    x->job_free = free_job;
    job->is_sealed = is_sealed;
    job->root = hf_front_read_json(x);
    if (job->root == NULL) {
        return HF_NEXT_ANSWER;
    }
    const char *wrong = check_body(job);
    if (wrong != NULL) {
        return malformed(x, wrong);
    }
    if (!hf_front_open_text(x, &job->text)) {
        return HF_NEXT_ANSWER;
    }
    hf_text_put(&job->text, "{\"data\":[");
    const json_t *history = json_object_get(job->root, "slashing_protection");
    return json_is_string(history) ? import_history(x, history) : next_keystore(x);
}

hf_next hf_front_keystores_import(hf_exchange *x)
{
    return import_into(x, false);
}

hf_next hf_front_sealed_import(hf_exchange *x)
{
    return import_into(x, true);
}
