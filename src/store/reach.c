/* The files that reaching a database takes: everything else is out of the process's reach. */
#include "store/store_internal.h"

#include <libpq-fe.h>
#include <stdlib.h>

/* Of a connection URL. */
static const char *const file_options[] = {"sslrootcert", "sslcert",  "sslkey",     "sslcrl",
                                           "sslcrldir",   "passfile", "servicefile"};

static const char *const file_variables[] = {"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
                                             "AWS_CA_BUNDLE"};

/* Tokens that the platform renews by putting another file in their place: the folder counts. */
static const char *const token_variables[] = {"AWS_WEB_IDENTITY_TOKEN_FILE",
                                              "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"};

static void add(hf_store_reach *reach, const char *path)
{
    if (path == NULL || path[0] != '/' || reach->count == HF_STORE_PATHS_MAX) {
        return;
    }
    char *named = reach->named[reach->count];
    if (!hf_failed(hf_str_copy(named, HF_PATH_LEN, path))) {
        reach->paths[reach->count++] = (hf_harden_path){.path = named};
    }
}

static bool is_file_option(const char *keyword)
{
    for (size_t i = 0; i < HF_ARRAY_LEN(file_options); i++) {
        if (strcmp(keyword, file_options[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void add_of_url(hf_store_reach *reach, const char *url)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &message);
    for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        if (o->val != NULL && is_file_option(o->keyword)) {
            add(reach, o->val);
        }
        if (o->val != NULL && strcmp(o->keyword, "password") == 0) {
            hf_wipe(o->val, strlen(o->val));
        }
    }
    PQconninfoFree(options);
    PQfreemem(message);
}

static void add_of_home(hf_store_reach *reach, const char *name)
{
    char path[HF_PATH_LEN];
    const char *home = getenv("HOME");
    if (home != NULL && !hf_failed(hf_str_format(path, sizeof path, "%s/%s", home, name))) {
        add(reach, path);
    }
}

static void add_folder_of(hf_store_reach *reach, const char *path)
{
    char folder[HF_PATH_LEN];
    if (path == NULL || hf_failed(hf_str_copy(folder, sizeof folder, path))) {
        return;
    }
    char *end = strrchr(folder, '/');
    if (end != NULL && end != folder) {
        *end = '\0';
        add(reach, folder);
    }
}

void hf_store_reach_find(const hf_msg_store_config *config, hf_store_reach *ret_reach)
{
    ret_reach->count = 0;
    for (size_t i = 0; hf_harden_network_paths[i] != NULL; i++) {
        add(ret_reach, hf_harden_network_paths[i]);
    }
    if (config->url[0] != '\0') {
        add_of_home(ret_reach, ".postgresql");
        add_of_url(ret_reach, config->url);
    }
    if (config->backend == HF_STORE_DYNAMODB) {
        add_of_home(ret_reach, ".aws");
        for (size_t i = 0; i < HF_ARRAY_LEN(file_variables); i++) {
            add(ret_reach, getenv(file_variables[i]));
        }
        for (size_t i = 0; i < HF_ARRAY_LEN(token_variables); i++) {
            add_folder_of(ret_reach, getenv(token_variables[i]));
        }
    }
}
