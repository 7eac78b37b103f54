/* Who asks: the credential of a request, for the keeper to judge. */
#include "front/front_internal.h"

#define BEARER "Bearer "
#define BASIC "Basic "
/* A user's name, a colon and a token, decoded; longer ones hold no token of ours. */
#define BASIC_BYTES 512
#define NOT_A_DIGIT 64U

static unsigned base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (unsigned)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (unsigned)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0') + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : NOT_A_DIGIT;
}

/* RFC 4648 with or without padding, up to a blank; SIZE_MAX when it is none or does not fit. */
static size_t decode_base64(const char *text, char *out, size_t room)
{
    size_t len = 0;
    unsigned bits = 0;
    unsigned held = 0;
    for (; base64_digit(*text) != NOT_A_DIGIT; text++) {
        held = (held << 6 | base64_digit(*text)) & 0xffffU;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (len == room) {
                return SIZE_MAX;
            }
            out[len++] = (char)(held >> bits & 0xffU);
        }
    }
    text += strspn(text, "=");
    return *text == '\0' || *text == ' ' ? len : SIZE_MAX;
}

/* `Basic base64(USER:TOKEN)`, as clients send it for http://USER:TOKEN@host; whoever USER is. */
static bool take_basic(const char *value, char ret_token[HF_TOKEN_LEN])
{
    char plain[BASIC_BYTES];
    size_t len = decode_base64(value, plain, sizeof plain);
    const char *colon = len != SIZE_MAX ? memchr(plain, ':', len) : NULL;
    bool has_token = colon != NULL && colon + 1 < plain + len;
    if (has_token) {
        size_t token_len = (size_t)(plain + len - (colon + 1));
        bool fits = token_len < HF_TOKEN_LEN;
        memcpy(ret_token, fits ? colon + 1 : "-", fits ? token_len : 1);
    }
    hf_wipe(plain, sizeof plain);
    return has_token;
}

/* Too long a token is none that the keeper could have given out. */
static bool take_bearer(const char *value, char ret_token[HF_TOKEN_LEN])
{
    value += strspn(value, " ");
    size_t len = strcspn(value, " \t");
    bool fits = len < HF_TOKEN_LEN;
    memcpy(ret_token, fits ? value : "-", fits ? len : 1);
    return len > 0;
}

/* Into zeros. True when a credential was shown, of whatever worth. */
static bool take_token(const char *authorization, char ret_token[HF_TOKEN_LEN])
{
    if (authorization == NULL) {
        return false;
    }
    if (strncasecmp(authorization, BEARER, sizeof BEARER - 1) == 0) {
        return take_bearer(authorization + sizeof BEARER - 1, ret_token);
    }
    if (strncasecmp(authorization, BASIC, sizeof BASIC - 1) == 0) {
        return take_basic(authorization + sizeof BASIC - 1, ret_token);
    }
    return false;
}

bool hf_front_has_credential(const hf_exchange *x)
{
    char token[HF_TOKEN_LEN] = {0};
    bool has_token = take_token(x->request.authorization, token);
    hf_wipe(token, sizeof token);
    return has_token;
}

void hf_front_fill_caller(const hf_exchange *x, hf_caller *ret_caller)
{
    memset(ret_caller, 0, sizeof *ret_caller);
    (void)take_token(x->request.authorization, ret_caller->token);
    const hf_front_client *client = x->request.client;
    if (client != NULL) {
        memcpy(ret_caller->address, client->address, sizeof ret_caller->address);
        memcpy(ret_caller->certificate, client->certificate, sizeof ret_caller->certificate);
        ret_caller->port = client->port;
    }
}
