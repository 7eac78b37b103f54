/* doctor: what the configuration asks for, and should. */
#include "doctor_internal.h"

#define VALUE_LEN 256

void hf_check_hardening(hf_doctor *doctor)
{
    const hf_hardening_config *wanted = &doctor->config->hardening;
    const struct {
        const char *name;
        uint8_t requirement;
        uint8_t least; /* what is enough for OK */
    } lines[] = {
        {"seccomp", wanted->seccomp, HF_PROTECT_REQUIRE},
        {"landlock", wanted->landlock, HF_PROTECT_PREFER},
        {"mlock", wanted->mlock, HF_PROTECT_REQUIRE},
        {"no_dump", wanted->no_dump, HF_PROTECT_REQUIRE},
    };
    bool fine = true;
    for (size_t i = 0; i < HF_ARRAY_LEN(lines); i++) {
        if (lines[i].requirement == HF_PROTECT_OFF) {
            hf_doctor_say(doctor, HF_ROW_FAIL, "take the line away: the default is on",
                          "hardening.%s is off", lines[i].name);
            fine = false;
        } else if (lines[i].requirement < lines[i].least) {
            hf_doctor_say(doctor, HF_ROW_WARN, "say require: then no start goes without it",
                          "hardening.%s: prefer goes on without it where it cannot be had",
                          lines[i].name);
            fine = false;
        }
    }
    if (fine) {
        hf_doctor_say(doctor, HF_ROW_OK, "",
                      "a process that cannot have its sandbox does not start");
    }
}

void hf_check_tokens(hf_doctor *doctor)
{
    char mode[VALUE_LEN];
    bool with_certificates =
        doctor->config->tls_client_ca[0] != '\0' || doctor->config->tls_known_clients[0] != '\0';
    if (hf_doctor_setting(doctor, "auth.mode", mode, sizeof mode) && strcmp(mode, "tokens") == 0) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "auth.mode: tokens: every client shows one");
    } else if (with_certificates) {
        hf_doctor_say(doctor, HF_ROW_WARN, "auth.mode: tokens, one for each client",
                      "auth.mode: none: whoever has a client certificate may ask for anything");
    } else {
        hf_doctor_say(doctor, HF_ROW_WARN, "auth.mode: tokens, one for each client",
                      "auth.mode: none: every process of this machine may ask for signatures");
    }
}

/* Their list is read in the file itself: its entries are a book of their own. */
void hf_check_canaries(hf_doctor *doctor)
{
    char value[VALUE_LEN];
    if (!hf_doctor_find(doctor->written, "canary_keys", value, sizeof value) ||
        strcmp(value, "[]") == 0) {
        hf_doctor_say(doctor, HF_ROW_WARN,
                      "canary_keys: keys that nobody should ever use, and what to do when one is",
                      "no canary keys: a thief who tries all keys is not noticed");
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "there are canary keys");
    }
}

static bool audit_file_is_private(hf_doctor *doctor, const char *path)
{
    struct stat info;
    const char *remedy = "";
    if (stat(path, &info) != 0) {
        return true; /* not yet there: it is made with mode 0600 */
    }
    hf_row_state state =
        hf_doctor_judge_file(HF_FILE_PRIVATE, &info, doctor->uid, doctor->gid, &remedy);
    if (state != HF_ROW_OK) {
        hf_doctor_say(doctor, state, remedy, "%s: mode %04o, user %u", path, info.st_mode & 07777U,
                      (unsigned)info.st_uid);
    }
    return state == HF_ROW_OK;
}

void hf_check_audit(hf_doctor *doctor)
{
    char path[VALUE_LEN] = "";
    char enabled[VALUE_LEN] = "true";
    char sync[VALUE_LEN] = "always";
    bool has_path = hf_doctor_setting(doctor, "audit.path", path, sizeof path) && path[0] != '\0';
    (void)hf_doctor_setting(doctor, "audit.enabled", enabled, sizeof enabled);
    (void)hf_doctor_setting(doctor, "audit.sync", sync, sizeof sync);
    if (!has_path || strcmp(enabled, "true") != 0) {
        hf_doctor_say(doctor, HF_ROW_WARN, "switch the audit log on (holdfast.yaml(5))",
                      "no audit log: who signed what cannot be proved afterwards");
        return;
    }
    bool fine = audit_file_is_private(doctor, path);
    if (strcmp(sync, "always") != 0) {
        hf_doctor_say(doctor, HF_ROW_WARN, "audit.sync: always",
                      "audit.sync: %s: a crash may lose the last records", sync);
    } else if (fine) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "the audit log goes to %s", path);
    }
}
