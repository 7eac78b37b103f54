/* One call of JSON-RPC: from a front's memfd to the node and back. */
#include "relay/relay.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* All of it, or nothing: the front says how long it is. */
static uint8_t *read_call(int paper_fd, uint32_t len)
{
    struct stat info;
    if (fstat(paper_fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return NULL; /* a pipe could keep us waiting */
    }
    uint8_t *text = malloc(len);
    size_t have = 0;
    while (text != NULL && have < len) {
        ssize_t n = pread(paper_fd, text + have, len - have, (off_t)have);
        if (n <= 0) {
            free(text);
            return NULL;
        }
        have += (size_t)n;
    }
    return text;
}

static hf_relay_outcome outcome_of(const hf_net_exchange *exchange, uint64_t deadline_ns)
{
    hf_code code = exchange->result.code;
    if (code == HF_OK) {
        return exchange->http_status >= 300 && exchange->http_status < 400 ? HF_RELAY_REDIRECTED
                                                                           : HF_RELAY_OK;
    }
    return code == HF_LIMIT                   ? HF_RELAY_TOO_LONG
           : code == HF_CRYPTO                ? HF_RELAY_UNTRUSTED
           : code == HF_NOMEM                 ? HF_RELAY_BUSY
           : hf_time_mono_ns() >= deadline_ns ? HF_RELAY_LATE
                                              : HF_RELAY_UNREACHABLE;
}

static bool write_answer(int paper_fd, const hf_buf *answer)
{
    return lseek(paper_fd, 0, SEEK_SET) == 0 &&
           !hf_failed(hf_file_write_all(paper_fd, hf_buf_peek(answer), hf_buf_len(answer)));
}

hf_relay_outcome hf_relay_call(hf_net *net, const char *url, const hf_msg_relay_ask *ask,
                               int paper_fd, uint32_t *ret_len, char detail[HF_NET_DETAIL_LEN])
{
    uint8_t *text = read_call(paper_fd, ask->call_len);
    *ret_len = 0;
    if (text == NULL) {
        hf_str_cut(detail, HF_NET_DETAIL_LEN, "a call cannot be read");
        return HF_RELAY_BUSY;
    }
    hf_net_exchange exchange = {
        .method = "POST",
        .url = url,
        .headers = {"Content-Type: application/json", "Accept: application/json"},
        .body = hf_bytes_from(text, ask->call_len),
        .max_answer_bytes = ask->answer_max};
    hf_net_run(net, &exchange, 1, ask->deadline_ns);
    free(text);
    hf_relay_outcome outcome = outcome_of(&exchange, ask->deadline_ns);
    hf_str_cut(detail, HF_NET_DETAIL_LEN, exchange.detail);
    if (outcome == HF_RELAY_OK && !write_answer(paper_fd, exchange.answer)) {
        outcome = HF_RELAY_BUSY;
        hf_str_cut(detail, HF_NET_DETAIL_LEN, "an answer cannot be handed over");
    }
    if (outcome == HF_RELAY_OK) {
        *ret_len = (uint32_t)hf_buf_len(exchange.answer);
    }
    hf_net_exchange_done(&exchange);
    return outcome;
}
