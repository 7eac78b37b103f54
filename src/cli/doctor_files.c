/* doctor: who may read and change the files that count. */
#include "doctor_internal.h"

#include "supervisor/supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <openssl/pem.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FILES_NAMED 5    /* beyond these, only their number is told */
#define FILES_MAX 100000 /* of a folder */
#define DEPTH_MAX 4      /* of the data folder */
#define CERTIFICATE_DAYS 30
#define DISK_FREE_LEAST (UINT64_C(256) << 20)

hf_row_state hf_doctor_judge_file(hf_file_kind kind, const struct stat *info, uid_t uid, gid_t gid,
                                  const char **ret_remedy)
{
    bool ours = info->st_uid == uid || info->st_uid == 0;
    bool our_group = info->st_gid == gid || info->st_gid == 0;
    bool sticky = S_ISDIR(info->st_mode) && (info->st_mode & S_ISVTX) != 0;
    *ret_remedy = "";
    if (!ours) {
        *ret_remedy = "give it to root or to the signer's user (chown)";
        return HF_ROW_FAIL;
    }
    if (((info->st_mode & S_IWOTH) != 0 && !sticky) ||
        ((info->st_mode & S_IWGRP) != 0 && info->st_gid != 0)) {
        *ret_remedy = "chmod go-w it: whoever may change it, decides what the signer does";
        return HF_ROW_FAIL;
    }
    if (kind == HF_FILE_PUBLIC) {
        return HF_ROW_OK;
    }
    if ((info->st_mode & S_IRWXO) != 0) {
        *ret_remedy = kind == HF_FILE_CONFIG ? "chmod o-rwx it (0600, or 0640 root:holdfast)"
                                             : "chmod go-rwx it (files 0600, folders 0700)";
        return kind == HF_FILE_CONFIG ? HF_ROW_WARN : HF_ROW_FAIL;
    }
    if ((info->st_mode & S_IRWXG) != 0 && !our_group) {
        *ret_remedy = "chmod g-rwx it, or give it the signer's own group";
        return kind == HF_FILE_SECRET ? HF_ROW_FAIL : HF_ROW_WARN;
    }
    return HF_ROW_OK;
}

/* ---- many files, a few rows ---------------------------------------------------------------- */

typedef struct file_tally {
    hf_doctor *doctor;
    size_t files;
    size_t bad;
} file_tally;

static void describe(const char *path, const struct stat *info, char *out, size_t out_len)
{
    (void)snprintf(out, out_len, "%s: mode %04o, user %u, group %u", path, info->st_mode & 07777U,
                   (unsigned)info->st_uid, (unsigned)info->st_gid);
}

static void judge(file_tally *tally, hf_file_kind kind, const char *path)
{
    struct stat info;
    const char *remedy = "";
    char text[HF_PATH_LEN + 80];
    hf_doctor *doctor = tally->doctor;
    tally->files++;
    if (stat(path, &info) != 0) {
        hf_doctor_say(doctor, errno == ENOENT ? HF_ROW_WARN : HF_ROW_FAIL,
                      "run as root, or mend the path", "%s: %s", path, strerror(errno));
        tally->bad++;
        return;
    }
    hf_row_state verdict = hf_doctor_judge_file(kind, &info, doctor->uid, doctor->gid, &remedy);
    if (verdict == HF_ROW_OK) {
        return;
    }
    describe(path, &info, text, sizeof text);
    if (tally->bad++ < FILES_NAMED) {
        hf_doctor_say(doctor, verdict, remedy, "%s", text);
    }
}

static void close_tally(file_tally *tally, const char *what)
{
    if (tally->bad > FILES_NAMED) {
        hf_doctor_say(tally->doctor, HF_ROW_FAIL, "the same for these", "%zu more like them",
                      tally->bad - FILES_NAMED);
    }
    if (tally->bad == 0) {
        hf_doctor_say(tally->doctor, HF_ROW_OK, "", "%zu %s, all closed to others", tally->files,
                      what);
    }
}

/* A file may be replaced by whoever may write to a folder above it. */
static void judge_folders_above(file_tally *tally, const char *path)
{
    char folder[HF_PATH_LEN];
    (void)snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strrchr(folder, '/'); slash != NULL && slash != folder;
         slash = strrchr(folder, '/')) {
        *slash = '\0';
        judge(tally, HF_FILE_PUBLIC, folder);
    }
}

typedef void (*file_fn)(file_tally *tally, const char *path, bool is_folder);

static void walk(file_tally *tally, const char *folder, int depth, file_fn visit)
{
    char path[HF_PATH_LEN];
    struct dirent *entry = NULL;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        hf_doctor_say(tally->doctor, HF_ROW_WARN, "run as root to have its files looked at",
                      "%s: %s", folder, strerror(errno));
        tally->bad++;
        return;
    }
    while (tally->files < FILES_MAX && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            hf_failed(hf_str_format(path, sizeof path, "%s/%s", folder, entry->d_name))) {
            continue;
        }
        struct stat info;
        bool is_folder = lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
        visit(tally, path, is_folder);
        if (is_folder && depth > 1) {
            walk(tally, path, depth - 1, visit); /* at most DEPTH_MAX deep */
        }
    }
    (void)closedir(dir);
}

/* ---- the checks ---------------------------------------------------------------------------- */

void hf_check_config_file(hf_doctor *doctor)
{
    file_tally tally = {.doctor = doctor};
    char *path = doctor->config_path == NULL ? NULL : realpath(doctor->config_path, NULL);
    if (path == NULL) {
        return; /* there is none, or "configuration" said so */
    }
    judge(&tally, HF_FILE_CONFIG, path);
    judge_folders_above(&tally, path);
    if (tally.bad == 0) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%s: only root and the signer's user can change it",
                      path);
    }
    free(path);
}

static void judge_data(file_tally *tally, const char *path, bool is_folder)
{
    (void)is_folder;
    judge(tally, HF_FILE_SECRET, path);
}

void hf_check_data_dir(hf_doctor *doctor)
{
    file_tally tally = {.doctor = doctor};
    struct stat info;
    const char *data_dir = doctor->config->data_dir;
    if (stat(data_dir, &info) != 0) {
        hf_doctor_say(doctor, HF_ROW_WARN, "start the signer once, then ask again", "%s: %s",
                      data_dir, strerror(errno));
        return;
    }
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0 || info.st_uid != doctor->uid) {
        char text[HF_PATH_LEN + 80];
        describe(data_dir, &info, text, sizeof text);
        hf_doctor_say(doctor, HF_ROW_FAIL, "chmod 0700 it and give it to the signer's user", "%s",
                      text);
        tally.bad++;
    }
    judge_folders_above(&tally, data_dir);
    walk(&tally, data_dir, DEPTH_MAX, judge_data);
    if (doctor->config->store_backend == HF_STORE_SQLITE &&
        stat(doctor->config->store_path, &info) == 0) {
        judge(&tally, HF_FILE_SECRET, doctor->config->store_path);
    }
    close_tally(&tally, "files and folders of the data");
}

static void judge_key(file_tally *tally, const char *path, bool is_folder)
{
    if (!is_folder && (hf_str_has_suffix(path, ".json") || hf_str_has_suffix(path, ".yaml") ||
                       hf_str_has_suffix(path, ".yml"))) {
        judge(tally, HF_FILE_PRIVATE, path);
    }
}

/* Passwords, and key files of the seal's holders: whoever reads enough of those, opens it. */
static void judge_secret(file_tally *tally, const char *path, bool is_folder)
{
    if (!is_folder) {
        judge(tally, HF_FILE_SECRET, path);
    }
}

void hf_check_key_files(hf_doctor *doctor)
{
    file_tally tally = {.doctor = doctor};
    for (uint32_t i = 0; i < doctor->config->key_source_count; i++) {
        const char *dir = doctor->config->key_sources[i].dir;
        if (dir[0] == '/') {
            judge(&tally, HF_FILE_PRIVATE, dir);
            judge_folders_above(&tally, dir);
            walk(&tally, dir, 1,
                 doctor->config->key_sources[i].backend == HF_BACKEND_SEALED ? judge_secret
                                                                             : judge_key);
        }
    }
    close_tally(&tally, "key files and folders");
}

/* Those that config checks for privacy: a platform's tokens and certificates are not among them. */
static bool is_secret_setting(const char *name)
{
    return hf_str_has_suffix(name, "_file") && !hf_str_has_suffix(name, "jwt_file") &&
           strcmp(name, "ca_file") != 0 && strcmp(name, "client_cert_file") != 0 &&
           strcmp(name, "federated_token_file") != 0;
}

/* PINs, passwords and tokens of back ends of custody; and the code that one of them loads. */
static void judge_custody(file_tally *tally, const hf_custody_settings *settings)
{
    const char *name = NULL;
    const char *value = NULL;
    size_t offset = 0;
    while (hf_custody_settings_next(settings, &offset, &name, &value)) {
        if (is_secret_setting(name)) {
            judge(tally, HF_FILE_SECRET, value);
            judge_folders_above(tally, value);
        } else if (strcmp(name, "module") == 0) {
            judge(tally, HF_FILE_PUBLIC, value);
            judge_folders_above(tally, value);
        } else if (strcmp(name, "blob_dir") == 0 || strcmp(name, "token_dir") == 0) {
            judge(tally, HF_FILE_PRIVATE, value);
        }
    }
}

void hf_check_password_files(hf_doctor *doctor)
{
    const hf_config *config = doctor->config;
    file_tally tally = {.doctor = doctor};
    for (uint32_t i = 0; i < config->key_source_count; i++) {
        const hf_key_source *source = &config->key_sources[i];
        if (source->password_file[0] != '\0') {
            judge(&tally, HF_FILE_SECRET, source->password_file);
            judge_folders_above(&tally, source->password_file);
        }
        if (source->password_dir[0] != '\0') {
            judge(&tally, HF_FILE_PRIVATE, source->password_dir);
            walk(&tally, source->password_dir, 1, judge_secret);
        }
    }
    for (uint32_t i = 0; i < config->custody_count; i++) {
        judge_custody(&tally, &config->custodies[i].settings);
    }
    if (config->key_manager_enabled && access(config->key_manager_token_file, F_OK) == 0) {
        judge(&tally, HF_FILE_SECRET, config->key_manager_token_file);
    }
    char key_file[HF_PATH_LEN];
    if (hf_doctor_setting(doctor, "auth.key_file", key_file, sizeof key_file) &&
        access(key_file, F_OK) == 0) {
        judge(&tally, HF_FILE_SECRET, key_file);
    }
    const char *const others[] = {config->store_url_file, config->duty_url_file,
                                  config->node_url_file, config->node_key_file};
    for (size_t i = 0; i < HF_ARRAY_LEN(others); i++) {
        if (others[i][0] != '\0') {
            judge(&tally, HF_FILE_SECRET, others[i]);
            judge_folders_above(&tally, others[i]);
        }
    }
    close_tally(&tally, "files of passwords and tokens");
}

/* ---- TLS ----------------------------------------------------------------------------------- */

static void judge_expiry(file_tally *tally, const char *path)
{
    int days = 0;
    int seconds = 0;
    FILE *file = fopen(path, "re");
    X509 *certificate = file == NULL ? NULL : PEM_read_X509(file, NULL, NULL, NULL);
    if (certificate == NULL ||
        ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1) {
        hf_doctor_say(tally->doctor, HF_ROW_FAIL, "put a certificate in PEM there",
                      "%s: no certificate can be read", path);
        tally->bad++;
    } else if (days <= 0 && seconds <= 0) {
        hf_doctor_say(tally->doctor, HF_ROW_FAIL, "renew it; the signer takes new files by itself",
                      "%s: expired %d days ago", path, -days);
        tally->bad++;
    } else if (days < CERTIFICATE_DAYS) {
        hf_doctor_say(tally->doctor, HF_ROW_WARN, "renew it; the signer takes new files by itself",
                      "%s: expires in %d days", path, days);
        tally->bad++;
    }
    X509_free(certificate);
    if (file != NULL) {
        (void)fclose(file);
    }
}

void hf_check_tls_files(hf_doctor *doctor)
{
    const hf_config *config = doctor->config;
    file_tally tally = {.doctor = doctor};
    if (config->tls_cert[0] == '\0' && config->node_ca_file[0] == '\0' &&
        config->node_cert_file[0] == '\0') {
        return; /* "api-tls" judges that */
    }
    if (config->tls_cert[0] != '\0') {
        judge(&tally, HF_FILE_SECRET, config->tls_key);
        judge_folders_above(&tally, config->tls_key);
        judge_expiry(&tally, config->tls_cert);
    }
    if (config->node_cert_file[0] != '\0') {
        judge_expiry(&tally, config->node_cert_file);
    }
    const char *const others[] = {config->tls_cert, config->tls_client_ca,
                                  config->tls_known_clients, config->node_ca_file,
                                  config->node_cert_file};
    for (size_t i = 0; i < HF_ARRAY_LEN(others); i++) {
        if (others[i][0] != '\0') {
            judge(&tally, HF_FILE_PUBLIC, others[i]);
        }
    }
    close_tally(&tally, "files of TLS");
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void judge_program(file_tally *tally, const char *path, bool is_folder)
{
    const char *slash = strrchr(path, '/');
    if (!is_folder && strncmp(slash + 1, "holdfast", 8) == 0 && access(path, X_OK) == 0) {
        judge(tally, HF_FILE_PUBLIC, path);
    }
}

void hf_check_programs(hf_doctor *doctor)
{
    file_tally tally = {.doctor = doctor};
    char dir[HF_PATH_LEN];
    hf_error err = {0};
    if (hf_failed(hf_programs_find(dir, sizeof dir, &err))) {
        hf_doctor_say(doctor, HF_ROW_FAIL, "install Holdfast again", "%s", err.msg);
        return;
    }
    char *path = realpath(dir, NULL);
    if (path != NULL) {
        judge(&tally, HF_FILE_PUBLIC, path);
        judge_folders_above(&tally, path);
        walk(&tally, path, 1, judge_program);
    }
    free(path);
    if (doctor->config != NULL && doctor->config->canary_command[0] != '\0') {
        judge(&tally, HF_FILE_PUBLIC, doctor->config->canary_command);
        judge_folders_above(&tally, doctor->config->canary_command);
    }
    if (tally.bad == 0) {
        hf_doctor_say(doctor, HF_ROW_OK, "", "only root and the signer's user can change them");
    }
}

void hf_check_data_disk(hf_doctor *doctor)
{
    struct statfs disk;
    const char *data_dir = doctor->config->data_dir;
    if (statfs(data_dir, &disk) != 0) {
        return; /* "data-dir" says why */
    }
    uint64_t free_bytes = (uint64_t)disk.f_bavail * (uint64_t)disk.f_bsize;
    if (disk.f_type == TMPFS_MAGIC || (unsigned long)disk.f_type == RAMFS_MAGIC) {
        hf_doctor_say(doctor, HF_ROW_FAIL, "move data_dir to a disk",
                      "%s lies in memory: the record of what was signed ends with the machine",
                      data_dir);
    } else if (disk.f_type == NFS_SUPER_MAGIC || (unsigned long)disk.f_type == CIFS_SUPER_MAGIC) {
        hf_doctor_say(
            doctor, HF_ROW_FAIL, "move data_dir to a disk of this machine",
            "%s lies on a network's file system, whose locks and syncs cannot be relied on",
            data_dir);
    } else if (free_bytes < DISK_FREE_LEAST) {
        hf_doctor_say(doctor, HF_ROW_WARN, "make room: a full disk stops signing",
                      "%s: %llu MiB are free", data_dir, (unsigned long long)(free_bytes >> 20));
    } else {
        hf_doctor_say(doctor, HF_ROW_OK, "", "%s: a disk, %llu MiB are free", data_dir,
                      (unsigned long long)(free_bytes >> 20));
    }
}
