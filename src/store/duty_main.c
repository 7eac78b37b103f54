/*
 * holdfast-duty: asks the database for the locks of duties, for the keeper. It holds no key: what
 * it may do to the database, a captured one could do too, but it signs nothing.
 *
 * Descriptor 3 is the supervisor's channel, whose first frame is the configuration; 4 the duty
 * channel to the keeper.
 */
#include "store/duty_internal.h"
#include "store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define FD_DUTY 4

static hf_status read_config(hf_msg_duty_config *config, hf_error *err)
{
    hf_status st = hf_frame_recv_config(HF_FD_CONTROL, HF_MSG_DUTY_CONFIG, config, err);
    if (hf_failed(st)) {
        return st;
    }
    config->duties.database_url[HF_DUTY_URL_LEN - 1] = '\0';
    config->duties.node_id[HF_DUTY_NODE_ID_LEN - 1] = '\0';
    return hf_ok();
}

/* Only the files that reaching this database takes, and no system call beyond. */
static hf_status enclose(const hf_msg_duty_config *config, hf_harden_report *report, hf_error *err)
{
    static hf_msg_store_config database; /* large, and this process has one thread yet */
    static hf_store_reach reach;
    const hf_hardening_config *hardening = &config->hardening;
    hf_status st = hf_harden_process(hardening, FD_DUTY, report, err);
    if (hf_failed(st)) {
        return st;
    }
    database.backend = HF_STORE_POSTGRES;
    st = hf_str_copy(database.url, sizeof database.url, config->duties.database_url);
    if (!hf_failed(st)) {
        hf_store_reach_find(&database, &reach);
    }
    hf_wipe(database.url, sizeof database.url);
    if (!hf_failed(st)) {
        st = hf_harden_landlock_connecting(hardening, reach.paths, reach.count, report, err);
    }
    if (!hf_failed(st)) {
        st = hf_harden_seccomp(hardening, HF_SANDBOX_STORE, report, err);
    }
    return st;
}

static hf_status start(const hf_msg_duty_config *config, hf_harden_report *report,
                       hf_duty_engine **ret_engine, hf_error *err)
{
    hf_status st = enclose(config, report, err);
    if (!hf_failed(st) && (fcntl(HF_FD_CONTROL, F_SETFL, O_NONBLOCK) != 0 ||
                           fcntl(FD_DUTY, F_SETFL, O_NONBLOCK) != 0)) {
        st = hf_fail(err, HF_IO, "fcntl: %s", strerror(errno));
    }
    return hf_failed(st) ? st : hf_duty_engine_open(&config->duties, ret_engine, err);
}

int main(void)
{
    static hf_msg_duty_config config;
    hf_duty_engine *engine = NULL;
    hf_harden_report report = {.count = 0};
    hf_error err = {HF_OK, ""};
    hf_log_init("duty", HF_LOG_TEXT, HF_LOG_INFO);
    (void)signal(SIGPIPE, SIG_IGN); /* a database that hangs up is an error of the write */
    hf_status st = read_config(&config, &err);
    if (!hf_failed(st)) {
        hf_log_init("duty", (hf_log_format)config.log.format, (hf_log_level)config.log.least);
        st = start(&config, &report, &engine, &err);
    }
    hf_wipe(config.duties.database_url, sizeof config.duties.database_url);
    if (hf_failed(st)) {
        hf_log(HF_LOG_BROKEN, "start_refused", "%s", err.msg);
        return st.code == HF_USAGE ? 2 : 1;
    }
    hf_duty_engine_cleaning(engine, true);
    hf_duty_serve(FD_DUTY, HF_FD_CONTROL, engine, &report);
    return 0;
}
