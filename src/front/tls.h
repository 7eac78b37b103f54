/*
 * tls: certificate, key and who may connect. Files are read once, before the sandbox closes; a
 * change of the files reaches clients through a new front. One hf_tls a process.
 */
#ifndef HF_FRONT_TLS_H
#define HF_FRONT_TLS_H

#include "base/base.h"
#include "ipc/ipc.h"

#include <gnutls/gnutls.h>

/* TLS 1.2 for Java clients that know no newer one; nothing below. */
#define HF_TLS_PRIORITIES "SECURE128:%SERVER_PRECEDENCE:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

#define HF_FINGERPRINT_BYTES 32

/* A client whose own certificate is trusted by its SHA-256 fingerprint. */
typedef struct hf_known_client {
    char common_name[128];
    uint8_t fingerprint[HF_FINGERPRINT_BYTES];
} hf_known_client;

typedef struct hf_tls {
    hf_buf *cert;      /* PEM texts */
    hf_buf *key;       /* wiped by hf_tls_free */
    hf_buf *client_ca; /* NULL: none */
    hf_known_client *known;
    size_t known_count;
    bool has_known_file;
} hf_tls;

/* Reads what the configuration names, and checks that it fits together (INVALID_INPUT, naming the
 * file). *ret_tls stays NULL when TLS is off. */
hf_status hf_tls_load(const hf_msg_front_config *config, hf_tls **ret_tls,
                      hf_error *err) HF_MUST_CHECK;
void hf_tls_free(hf_tls *tls);

/* Web3Signer's file: one "<common name> <SHA-256 fingerprint>" a line, the fingerprint as AA:BB:..
 * or plain hex; # starts a comment. The caller frees *ret_known. Pure. */
hf_status hf_tls_parse_known_clients(const char *text, hf_known_client **ret_known,
                                     size_t *ret_count, hf_error *err) HF_MUST_CHECK;
/* Pure: is this certificate on the list, under its common name? */
bool hf_tls_is_known(const hf_tls *tls, const char *common_name,
                     const uint8_t fingerprint[HF_FINGERPRINT_BYTES]);

/* Are client certificates demanded? */
bool hf_tls_wants_clients(const hf_tls *tls);
/* Sets a new session to demand and verify its client's certificate, when that is wanted. tls must
 * outlive the session. */
void hf_tls_attach(const hf_tls *tls, gnutls_session_t session);
/* The common name of the certificate that a session's client has shown; untouched where none. */
void hf_tls_client_name(gnutls_session_t session, char ret_name[HF_CERTIFICATE_NAME_LEN]);

#endif
