/* Who asks: the credential of a request, for the keeper to judge. */
#include "front/front_internal.h"

#define BEARER "Bearer "

/* The token in an Authorization header; empty where there is none. */
static hf_bytes token_in(const char *authorization)
{
    if (authorization == NULL || strncasecmp(authorization, BEARER, sizeof BEARER - 1) != 0) {
        return hf_bytes_from(NULL, 0);
    }
    const char *value = authorization + sizeof BEARER - 1;
    value += strspn(value, " ");
    return hf_bytes_from(value, strcspn(value, " \t"));
}

bool hf_front_has_credential(const hf_exchange *x)
{
    return token_in(x->request.authorization).len > 0;
}

void hf_front_fill_caller(const hf_exchange *x, hf_caller *ret_caller)
{
    memset(ret_caller, 0, sizeof *ret_caller);
    hf_bytes token = token_in(x->request.authorization);
    /* Too long a one is none that the keeper could have given out. */
    const char *shown = token.len < HF_TOKEN_LEN ? (const char *)token.ptr : "-";
    memcpy(ret_caller->token, shown, token.len < HF_TOKEN_LEN ? token.len : 1);
    const hf_front_client *client = x->request.client;
    if (client != NULL) {
        memcpy(ret_caller->address, client->address, sizeof ret_caller->address);
        memcpy(ret_caller->certificate, client->certificate, sizeof ret_caller->certificate);
        ret_caller->port = client->port;
    }
}
