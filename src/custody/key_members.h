/*
 * One document of a Web3Signer key file as members by name. What they mean is said by key_yaml.c
 * for keys in files and by key_servers_read.c for keys that servers have. Inside custody alone.
 */
#ifndef HF_CUSTODY_KEY_MEMBERS_H
#define HF_CUSTODY_KEY_MEMBERS_H

#include "base/base.h"

typedef enum hf_key_member {
    HF_MEMBER_TYPE,
    HF_MEMBER_KEY_TYPE,
    HF_MEMBER_PRIVATE_KEY, /* from here on: of some types and not of others */
    HF_MEMBER_KEYSTORE_FILE,
    HF_MEMBER_PASSWORD_FILE,
    HF_MEMBER_MNEMONIC_FILE,
    HF_MEMBER_PATH,
    HF_MEMBER_SERVER_HOST, /* from here on: of types that name a server */
    HF_MEMBER_SERVER_PORT,
    HF_MEMBER_TLS_ENABLED,
    HF_MEMBER_TLS_KNOWN_SERVERS,
    HF_MEMBER_AUTH_METHOD,
    HF_MEMBER_TOKEN,
    HF_MEMBER_KUBERNETES_ROLE,
    HF_MEMBER_KUBERNETES_TOKEN,
    HF_MEMBER_KUBERNETES_AUTH_PATH,
    HF_MEMBER_KEY_PATH,
    HF_MEMBER_KEY_NAME,
    HF_MEMBER_AUTHENTICATION_MODE,
    HF_MEMBER_SECRET_NAME,
    HF_MEMBER_VAULT_NAME,
    HF_MEMBER_TENANT_ID,
    HF_MEMBER_CLIENT_ID,
    HF_MEMBER_CLIENT_SECRET,
    HF_MEMBER_REGION,
    HF_MEMBER_ACCESS_KEY_ID,
    HF_MEMBER_SECRET_ACCESS_KEY,
    HF_MEMBER_ENDPOINT_OVERRIDE,
    HF_MEMBER_COUNT
} hf_key_member;

#define HF_KEY_WORD_LEN 41

typedef struct hf_key_members {
    char *values[HF_MEMBER_COUNT]; /* NULL: not given. Some are secrets */
    char unknown[HF_KEY_WORD_LEN]; /* the first member that no type here has */
    size_t unknown_line;           /* 0: none */
    size_t first_line;             /* of the document, from 1 */
} hf_key_members;

/* Document number n of the text. NOT_FOUND, INVALID_INPUT and LIMIT as hf_key_file_parse says. */
hf_status hf_key_members_read(hf_bytes yaml, size_t n, hf_key_members *ret_members,
                              hf_error *err) HF_MUST_CHECK;
void hf_key_members_done(hf_key_members *members); /* wipes */

const char *hf_key_member_name(hf_key_member which);
/* "" when it was not given. */
const char *hf_key_member_text(const hf_key_members *members, hf_key_member which);
/* INVALID_INPUT names it. */
hf_status hf_key_member_require(const hf_key_members *members, hf_key_member which,
                                hf_error *err) HF_MUST_CHECK;
/* A word fit for an error sentence, or a phrase in its place: the text may be a misplaced secret.
 */
const char *hf_key_word(const char *text);
/* The types of keys that a server has, which hf_custody_key_servers_open reads; NULL ends them. */
extern const char *const hf_key_server_types[];

#endif
