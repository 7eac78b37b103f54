/*
 * The body of a signing request, or of a duty: whatever decodes is JSON in another library's eyes
 * too, decodes the same way again, and gives a signing root, or a duty that has a normal form.
 */
#include <jansson.h>

#include "front/codec.h"

static const char pubkey[] = "0xa99a76ed7796f7be22d5b7e85deeb7c5677e88e511e0b337618f8c4eb61349b4"
                             "bf2d153f649f7b53359fe8b94a38e44c";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_json(const uint8_t *data, size_t size)
{
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL;
    json_error_t problem;
    json_t *value = json_loadb((const char *)data, size, flags, &problem);
    /* a number such as 1e999 is JSON, and beyond what jansson holds */
    bool is_fine = value != NULL || json_error_code(&problem) == json_error_numeric_overflow;
    json_decref(value);
    return is_fine;
}

static void try_duty(const uint8_t *data, size_t size)
{
    hf_duty_request request;
    hf_duty_request again;
    hf_error err = {0};
    hf_bytes body = hf_bytes_from(data, size);
    hf_status st = hf_codec_decode_duty(body, &request, &err);
    if (hf_failed(st)) {
        HF_ASSERT(st.code == HF_INVALID_INPUT && err.code == st.code && err.msg[0] != '\0');
        return;
    }
    HF_ASSERT(is_json(data, size));
    HF_ASSERT(!hf_failed(hf_codec_decode_duty(body, &again, &err)));
    HF_ASSERT(hf_bytes_equal(&request, &again, sizeof request));
    HF_ASSERT(request.hashing < HF_AZTEC_HASHING_COUNT);
    HF_ASSERT(!hf_failed(hf_aztec_duty_normalize(&request.duty, &err)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_duty(data, size);
    const hf_network *network = hf_eth_network_find("mainnet");
    hf_eth_request request;
    hf_eth_request again;
    hf_error err = {0};
    hf_bytes body = hf_bytes_from(data, size);
    hf_status st = hf_codec_decode_sign(network, pubkey, body, &request, &err);
    if (hf_failed(st)) {
        HF_ASSERT(st.code == HF_INVALID_INPUT && err.code == st.code && err.msg[0] != '\0');
        return 0;
    }
    HF_ASSERT(is_json(data, size));
    HF_ASSERT(!hf_failed(hf_codec_decode_sign(network, pubkey, body, &again, &err)));
    HF_ASSERT(hf_bytes_equal(&request, &again, sizeof request));
    uint8_t root[HF_ROOT_BYTES];
    HF_ASSERT(!hf_failed(hf_eth_signing_root(network, &request, root, &err)));
    return 0;
}
