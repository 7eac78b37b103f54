/* doctor: the running signer: who it is, and what its processes really have. */
#include "doctor_internal.h"

#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <unistd.h>

#define MOUNT_MODE_LEN 256
#define NAME_FIELD "Name:\t" /* the first line of /proc/PID/status */
#define USER_BYTES 4096      /* the names in an entry of the users */

/* ---- finding its processes ----------------------------------------------------------------- */

static void add_child(hf_doctor *doctor, pid_t pid, const char *status)
{
    uint64_t parent = 0;
    if (!hf_doctor_field(status, "PPid", 10, &parent) || (pid_t)parent != doctor->supervisor ||
        doctor->child_count == HF_DOCTOR_CHILDREN_MAX) {
        return;
    }
    hf_doctor_child *child = &doctor->children[doctor->child_count++];
    child->pid = pid;
    child->name[0] = '\0';
    if (strncmp(status, NAME_FIELD, sizeof NAME_FIELD - 1) == 0) {
        hf_str_cut(child->name, sizeof child->name, status + sizeof NAME_FIELD - 1);
        child->name[strcspn(child->name, "\n")] = '\0';
    }
}

static void find_children(hf_doctor *doctor)
{
    DIR *dir = opendir(doctor->proc);
    struct dirent *entry = NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        uint64_t pid = 0;
        if (hf_failed(hf_num_parse_u64(entry->d_name, strlen(entry->d_name), &pid))) {
            continue;
        }
        hf_buf *status = hf_doctor_read("%s/%llu/status", doctor->proc, (unsigned long long)pid);
        if (status != NULL) {
            add_child(doctor, (pid_t)pid, hf_buf_text(status));
        }
        hf_buf_free(status);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

void hf_check_running(hf_doctor *doctor)
{
    if (doctor->supervisor == 0) {
        hf_doctor_say(doctor, HF_ROW_WARN,
                      "start it and ask again as root: what its processes really have is not seen",
                      "%s", doctor->silent);
        return;
    }
    find_children(doctor);
    if (doctor->status.store_healthy == 0) {
        hf_doctor_say(doctor, HF_ROW_FAIL, "mend the store: nothing is signed meanwhile",
                      "the store cannot record: %s", doctor->status.store_detail);
        return;
    }
    hf_doctor_say(doctor, HF_ROW_OK, "", "process %d, user %u, %zu children, %u keys",
                  (int)doctor->supervisor, (unsigned)doctor->uid, doctor->child_count,
                  (unsigned)doctor->status.keys_loaded);
}

/* ---- the user ------------------------------------------------------------------------------ */

static bool has_login(const struct passwd *user)
{
    return user->pw_shell != NULL && user->pw_shell[0] != '\0' &&
           !hf_str_has_suffix(user->pw_shell, "/nologin") &&
           !hf_str_has_suffix(user->pw_shell, "/false");
}

void hf_check_user(hf_doctor *doctor)
{
    struct passwd entry;
    struct passwd *user = NULL;
    char names[USER_BYTES];
    if (getpwuid_r(doctor->uid, &entry, names, sizeof names, &user) != 0) {
        user = NULL;
    }
    const char *name = user == NULL ? "without a name" : user->pw_name;
    if (doctor->uid == 0) {
        hf_doctor_say(
            doctor, doctor->supervisor != 0 ? HF_ROW_FAIL : HF_ROW_WARN,
            "run it as a user of its own (packaging/holdfast.sysusers), who owns data_dir",
            "the signer %s root", doctor->supervisor != 0 ? "runs as" : "would run as");
    } else if (user != NULL && has_login(user)) {
        hf_doctor_say(doctor, HF_ROW_WARN, "usermod -s /usr/sbin/nologin it, or use another",
                      "the signer's user %s can log in", name);
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "user %u (%s)", (unsigned)doctor->uid, name);
    }
}

/* ---- each process -------------------------------------------------------------------------- */

typedef struct want {
    const char *field;
    unsigned base;
    uint64_t value;
    const char *lacking;
} want;

static const want wants[] = {
    {"NoNewPrivs", 10, 1, "may gain privileges"},    {"CapEff", 16, 0, "has capabilities"},
    {"CapPrm", 16, 0, "has capabilities in store"},  {"CapAmb", 16, 0, "hands capabilities on"},
    {"Seccomp", 10, 2, "has no system call filter"},
};

static bool judge_process(hf_doctor *doctor, pid_t pid, const char *name)
{
    bool fine = true;
    hf_buf *status = hf_doctor_read("%s/%d/status", doctor->proc, (int)pid);
    if (status == NULL) {
        return true; /* a loader that is done */
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(wants); i++) {
        uint64_t value = 0;
        if (!hf_doctor_field(hf_buf_text(status), wants[i].field, wants[i].base, &value) ||
            value == wants[i].value) {
            continue;
        }
        hf_doctor_say(doctor, HF_ROW_FAIL,
                      "hardening: all on, and no sanitizer build; the start-up log says why",
                      "%s (%d) %s", name, (int)pid, wants[i].lacking);
        fine = false;
    }
    hf_buf_free(status);
    return fine;
}

void hf_check_processes(hf_doctor *doctor)
{
    bool fine = judge_process(doctor, doctor->supervisor, "holdfast");
    for (size_t i = 0; i < doctor->child_count; i++) {
        fine = judge_process(doctor, doctor->children[i].pid, doctor->children[i].name) && fine;
    }
    if (fine) {
        hf_doctor_say(
            doctor, HF_ROW_OK, "",
            "%zu processes: no capability, no new privileges, each but the supervisor with "
            "a system call filter",
            doctor->child_count + 1);
    }
}

static bool judge_protections(hf_doctor *doctor, const char *process, const hf_protection *items,
                              uint32_t count)
{
    bool fine = true;
    for (uint32_t i = 0; i < count && i < HF_PROTECTIONS_MAX; i++) {
        const hf_protection *item = &items[i];
        if (item->state == HF_PROTECTION_ON) {
            continue;
        }
        bool is_off = item->state == HF_PROTECTION_OFF;
        hf_doctor_say(doctor, is_off ? HF_ROW_FAIL : HF_ROW_WARN,
                      is_off ? "take the line of hardening: away, and start again"
                             : "see the rows of the machine below",
                      "%s: %.*s: %.*s", process, HF_PROTECTION_NAME_LEN, item->name,
                      (int)sizeof item->detail, item->detail);
        fine = false;
    }
    return fine;
}

/* What the processes themselves got, as GET /api/v1/holdfast/status tells. */
void hf_check_protections(hf_doctor *doctor)
{
    const hf_msg_status_reply *status = &doctor->status;
    bool fine = judge_protections(doctor, "keeper", status->protections, status->protection_count);
    fine = judge_protections(doctor, "store", status->store_protections,
                             status->store_protection_count) &&
           fine;
    fine = judge_protections(doctor, "duty", status->duty_protections,
                             status->duty_protection_count) &&
           fine;
    if (fine) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%u protections of the keeper are on",
                      (unsigned)status->protection_count);
    }
}

/* ---- the wall around it -------------------------------------------------------------------- */

/*
 * Options (",ro,noexec,") of the mount that a path lies on, by /proc/PID/mountinfo (fields: id,
 * parent, device, root, place, options): the deepest place above it, and there the last line.
 * Returns the length of the place, 0 when there is none.
 */
static size_t mount_options(const char *mounts, const char *path, char out[MOUNT_MODE_LEN])
{
    size_t deepest = 0;
    out[0] = '\0';
    while (*mounts != '\0') {
        const char *place = mounts;
        for (int i = 0; i < 4; i++) {
            place += strcspn(place, " \n");
            place += *place == ' ';
        }
        size_t len = strcspn(place, " \n");
        bool is_above =
            len == 1 || (strncmp(path, place, len) == 0 && (path[len] == '/' || path[len] == '\0'));
        if (len > 0 && is_above && len >= deepest) {
            const char *options = place + len + (place[len] == ' ');
            (void)snprintf(out, MOUNT_MODE_LEN, ",%.*s,", (int)strcspn(options, " \n"), options);
            deepest = len;
        }
        mounts += strcspn(mounts, "\n");
        mounts += *mounts == '\n';
    }
    return deepest;
}

static bool is_read_only(const char *mounts, const char *place)
{
    char options[MOUNT_MODE_LEN];
    return mount_options(mounts, place, options) > 0 && strstr(options, ",ro,") != NULL;
}

/* Read-only, or a mount of its own: not what others on this machine have there. */
static bool is_apart(const char *mounts, const char *place)
{
    char options[MOUNT_MODE_LEN];
    return is_read_only(mounts, place) || mount_options(mounts, place, options) == strlen(place);
}

/* It is run once, on the day of the theft: better to know before. */
static bool judge_canary_command(hf_doctor *doctor, const char *mounts)
{
    char options[MOUNT_MODE_LEN];
    const char *command = doctor->config->canary_command;
    if (command[0] == '\0' || mount_options(mounts, command, options) == 0 ||
        strstr(options, ",noexec,") == NULL) {
        return true;
    }
    hf_doctor_say(doctor, HF_ROW_FAIL,
                  "move it below /usr/local, or name its folder in ExecPaths= of the unit",
                  "canary_command: %s lies where the unit runs no programs", command);
    return false;
}

/*
 * What a unit's (or a container's) settings come to, seen from inside: the system read-only, homes
 * out of reach, a /tmp of its own. The signer needs none of the three.
 */
void hf_check_unit(hf_doctor *doctor)
{
    static const char *const system[] = {"/", "/usr", "/etc"};
    bool fine = true;
    hf_buf *mounts = hf_doctor_read("%s/%d/mountinfo", doctor->proc, (int)doctor->supervisor);
    if (mounts == NULL) {
        hf_doctor_say(doctor, HF_ROW_WARN, "run doctor as root",
                      "what the signer sees of the file system cannot be looked at");
        return;
    }
    const char *text = hf_buf_text(mounts);
    for (size_t i = 0; i < HF_ARRAY_LEN(system) && fine; i++) {
        if (!is_read_only(text, system[i])) {
            hf_doctor_say(doctor, HF_ROW_WARN,
                          "ProtectSystem=strict in the unit, --read-only for a container",
                          "%s is not read-only to the signer", system[i]);
            fine = false;
        }
    }
    if (!is_apart(text, "/home")) {
        hf_doctor_say(doctor, HF_ROW_WARN, "ProtectHome=yes in the unit",
                      "people's home folders are in the signer's reach");
        fine = false;
    }
    if (!is_apart(text, "/tmp")) {
        hf_doctor_say(doctor, HF_ROW_WARN,
                      "PrivateTmp=yes in the unit, --tmpfs /tmp for a container",
                      "the signer shares /tmp with others");
        fine = false;
    }
    if (judge_canary_command(doctor, text) && fine) {
        hf_doctor_say(doctor, HF_ROW_OK, "",
                      "read-only root; homes and /tmp are not the machine's");
    }
    hf_buf_free(mounts);
}
