/* What the files of this back end share. */
#ifndef HF_CUSTODY_KEY_SERVERS_INTERNAL_H
#define HF_CUSTODY_KEY_SERVERS_INTERNAL_H

#include "custody/key_members.h"
#include "custody/key_servers.h"

#define HF_KEY_SERVER_ID_LEN 32

typedef struct hf_key_server hf_key_server;

/* A type of key file. */
typedef struct hf_key_server_kind {
    const char *type;
    uint32_t identity;    /* bits of the members that name server and credentials */
    uint32_t credentials; /* of those that are secret */
    hf_key_member secret; /* which member names the secret */
    const char *field; /* the field of it that counts when keyName is not given; NULL: none has */
    /* Is all there that this type needs? INVALID_INPUT names the member, USAGE what is not served.
     */
    hf_status (*check)(const hf_key_members *members, hf_error *err);
    /* Opens what lists the server's secrets, borrowed from server until it is closed. */
    hf_status (*open)(const hf_key_servers_config *config, const hf_key_server *server,
                      hf_custody **ret_custody, hf_error *err);
} hf_key_server_kind;

/* NULL: none of ours. */
const hf_key_server_kind *hf_key_server_kind_find(const char *type);

/* A server with credentials, and what the files want from it. */
struct hf_key_server {
    const hf_key_server_kind *kind;
    uint8_t id[HF_KEY_SERVER_ID_LEN];
    hf_custody_type key_type;
    hf_key_members members; /* of the first document that named it */
    hf_secret_ref *secrets; /* in the order of their names, each once; texts are owned */
    size_t count;
    size_t capacity;
};

typedef struct hf_key_server_list {
    hf_key_server *servers;
    size_t count;
    size_t capacity;
} hf_key_server_list; /* start from {0} */

/* Reads the folder; what cannot be served goes to the visitor. A failure: of the folder itself. */
hf_status hf_key_servers_read(const hf_key_servers_config *config,
                              const hf_custody_visitor *visitor, hf_key_server_list *ret_list,
                              hf_error *err) HF_MUST_CHECK;
void hf_key_servers_done(hf_key_server_list *list); /* wipes */

#endif
