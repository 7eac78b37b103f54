/* The files that a back end of custody takes: everything else is out of the process's reach. */
#include "custody/hsm_internal.h"

#include <stdlib.h>

/* What a program of this machine may read: a module brings libraries and files of its own. */
static const char *const module_paths[] = {
    "/usr", "/lib", "/lib64", "/etc", "/opt", "/run", "/proc", "/sys",
};

static const char *const aws_files[] = {"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
                                        "AWS_CA_BUNDLE"};

/* Tokens that the platform renews by putting another file in their place: the folder counts. */
static const char *const aws_tokens[] = {"AWS_WEB_IDENTITY_TOKEN_FILE",
                                         "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"};

/* Where Kubernetes puts a pod's token, which Vault's logins take unless another file is named. */
static const char kubernetes_token_dir[] = "/var/run/secrets/kubernetes.io/serviceaccount";

static hf_harden_path *add(hf_custody_reach *reach, const char *path)
{
    if (path == NULL || path[0] != '/' || reach->count == HF_CUSTODY_PATHS_MAX) {
        return NULL;
    }
    char *named = reach->named[reach->count];
    if (hf_failed(hf_str_copy(named, HF_PATH_LEN, path))) {
        return NULL;
    }
    reach->paths[reach->count] = (hf_harden_path){.path = named};
    return &reach->paths[reach->count++];
}

static void add_folder_of(hf_custody_reach *reach, const char *path)
{
    char folder[HF_PATH_LEN];
    if (path == NULL || hf_failed(hf_str_copy(folder, sizeof folder, path))) {
        return;
    }
    char *end = strrchr(folder, '/');
    if (end != NULL && end != folder) {
        *end = '\0';
        (void)add(reach, folder);
    }
}

static void add_of_aws(hf_custody_reach *reach)
{
    char path[HF_PATH_LEN];
    const char *home = getenv("HOME");
    if (home != NULL && !hf_failed(hf_str_format(path, sizeof path, "%s/.aws", home))) {
        (void)add(reach, path);
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(aws_files); i++) {
        (void)add(reach, getenv(aws_files[i]));
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(aws_tokens); i++) {
        add_folder_of(reach, getenv(aws_tokens[i]));
    }
}

static void add_of_settings(hf_custody_reach *reach, const hf_custody_settings *settings)
{
    const char *name = NULL;
    const char *value = NULL;
    size_t offset = 0;
    while (hf_custody_settings_next(settings, &offset, &name, &value)) {
        hf_harden_path *path = add(reach, value);
        if (path != NULL && strcmp(name, "token_dir") == 0) {
            path->writable = true;
        }
        if (hf_str_has_suffix(name, "_file") || strcmp(name, "module") == 0) {
            add_folder_of(reach, value);
        }
    }
}

void hf_custody_reach_find(const hf_custody_kind *kind, const hf_custody_settings *settings,
                           hf_custody_reach *ret_reach)
{
    ret_reach->count = 0;
    for (size_t i = 0; hf_harden_network_paths[i] != NULL; i++) {
        (void)add(ret_reach, hf_harden_network_paths[i]);
    }
    add_of_settings(ret_reach, settings);
    if (kind->backend == HF_BACKEND_VAULT || kind->backend == HF_BACKEND_WEB3SIGNER) {
        (void)add(ret_reach, kubernetes_token_dir);
    }
    if (kind->knows_aws) {
        add_of_aws(ret_reach);
    }
    if (!kind->loads_module) {
        return;
    }
    for (size_t i = 0; i < HF_ARRAY_LEN(module_paths); i++) {
        (void)add(ret_reach, module_paths[i]);
    }
    hf_harden_path *devices = add(ret_reach, "/dev");
    if (devices != NULL) {
        devices->is_device = true;
    }
}
