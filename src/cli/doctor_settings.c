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

void hf_check_canaries(hf_doctor *doctor)
{
    char value[VALUE_LEN];
    if (!hf_doctor_setting(doctor, "canary_keys", value, sizeof value) ||
        strcmp(value, "[]") == 0) {
        hf_doctor_say(doctor, HF_ROW_WARN,
                      "canary_keys: keys that nobody should ever use, and what to do when one is",
                      "no canary keys: a thief who tries all keys is not noticed");
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "there are canary keys");
    }
}

void hf_check_audit(hf_doctor *doctor)
{
    char path[VALUE_LEN];
    if (!hf_doctor_setting(doctor, "audit.path", path, sizeof path) || path[0] == '\0') {
        hf_doctor_say(doctor, HF_ROW_WARN,
                      "audit.path: a file of its own, or another sink; holdfast.yaml(5)",
                      "no audit log: who signed what cannot be proved afterwards");
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "the audit log goes to %s", path);
    }
}
