/* The schema: which frame has which size and may travel where; sending and receiving. */
#include "ipc/ipc_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Channels as bits of a mask. */
#define ON(channel) (1U << (channel))
#define ON_FRONT ON(HF_CHANNEL_FRONT)
#define ON_CONTROL ON(HF_CHANNEL_CONTROL)
#define ON_ADMIN ON(HF_CHANNEL_ADMIN)
#define ON_LOADER ON(HF_CHANNEL_LOADER)
#define ON_IMPORT ON(HF_CHANNEL_IMPORT)
#define ON_DUTY ON(HF_CHANNEL_DUTY)
#define ON_STORE ON(HF_CHANNEL_STORE)
#define ON_CUSTODY_KEYS ON(HF_CHANNEL_CUSTODY_KEYS)
#define ON_CUSTODY ON(HF_CHANNEL_CUSTODY)
#define ON_RELAY ON(HF_CHANNEL_RELAY)

typedef struct frame_rule {
    const char *name;
    size_t size;
    uint32_t to_keeper;   /* channels on which the keeper accepts it */
    uint32_t from_keeper; /* channels on which the keeper's peer (or a child) accepts it */
    bool has_caller;      /* right behind the header */
} frame_rule;

#define RULE(type, shape, to, from) [HF_MSG_##type] = {#type, sizeof(shape), (to), (from), false}
/* A question that needs a right. */
#define ASK(type, shape, to)                                                                       \
    [HF_MSG_##type] = {#type, sizeof(shape) + CALLER_CHECKED(shape), (to), 0, true}
#define CALLER_CHECKED(shape)                                                                      \
    (0 * sizeof(char[offsetof(shape, caller) == sizeof(hf_frame_header) ? 1 : -1]))

static const frame_rule rules[HF_MSG_COUNT_TYPES] = {
    RULE(KEEPER_CONFIG, hf_msg_keeper_config, ON_CONTROL, 0),
    RULE(FRONT_CONFIG, hf_msg_front_config, 0, ON_CONTROL),
    RULE(LOADER_CONFIG, hf_msg_loader_config, 0, ON_CONTROL),
    RULE(DUTY_CONFIG, hf_msg_duty_config, 0, ON_CONTROL),
    RULE(STORE_CONFIG, hf_msg_store_config, 0, ON_CONTROL),
    RULE(NEW_CHANNEL, hf_msg_new_channel, ON_CONTROL, ON_CONTROL),
    RULE(SHUTDOWN, hf_msg_plain, ON_CONTROL, ON_CONTROL),
    RULE(READY, hf_msg_plain, 0, ON_CONTROL),
    RULE(LOAD_WANTED, hf_msg_plain, 0, ON_CONTROL),
    RULE(IMPORT_WANTED, hf_msg_plain, 0, ON_CONTROL),
    ASK(SIGN, hf_msg_sign, ON_FRONT),
    RULE(SIGN_REPLY, hf_msg_sign_reply, 0, ON_FRONT),
    RULE(COUNT, hf_msg_count, ON_FRONT, 0),
    RULE(SOON, hf_msg_plain, ON_FRONT, 0),
    RULE(METRICS, hf_msg_plain, ON_FRONT, 0),
    RULE(METRICS_REPLY, hf_msg_metrics_reply, 0, ON_FRONT),
    ASK(AUTHORIZE, hf_msg_ask, ON_FRONT),
    ASK(KEY_IMPORT, hf_msg_ask, ON_FRONT),
    ASK(KEY_DELETE, hf_msg_pubkey, ON_FRONT),
    RULE(RESULT, hf_msg_result, 0, ON_FRONT | ON_ADMIN | ON_IMPORT | ON_CONTROL),
    ASK(KEYS, hf_msg_keys, ON_FRONT | ON_ADMIN),
    RULE(KEYS_REPLY, hf_msg_keys_reply, 0, ON_FRONT | ON_ADMIN),
    ASK(STATUS, hf_msg_ask, ON_FRONT | ON_ADMIN),
    RULE(HEALTH, hf_msg_plain, ON_FRONT, 0),
    RULE(STATUS_REPLY, hf_msg_status_reply, 0, ON_FRONT | ON_ADMIN),
    ASK(RELOAD, hf_msg_ask, ON_FRONT | ON_ADMIN),
    ASK(EXPORT_OPEN, hf_msg_pubkey, ON_FRONT | ON_ADMIN),
    RULE(EXPORT_READ, hf_msg_export_read, ON_FRONT | ON_ADMIN, 0),
    RULE(EXPORT_PAGE, hf_msg_export_page, 0, ON_FRONT | ON_ADMIN),
    ASK(IMPORT_BEGIN, hf_msg_ask, ON_FRONT | ON_ADMIN),
    RULE(IMPORT_ADD, hf_msg_import_add, ON_FRONT | ON_ADMIN, 0),
    RULE(IMPORT_COMMIT, hf_msg_plain, ON_FRONT | ON_ADMIN, 0),
    RULE(IMPORT_ABORT, hf_msg_plain, ON_FRONT | ON_ADMIN, 0),
    RULE(IMPORT_REPORT, hf_msg_import_report, 0, ON_FRONT | ON_ADMIN),
    RULE(PRUNE, hf_msg_prune, ON_ADMIN, 0),
    RULE(STORE_STATUS, hf_msg_plain, ON_ADMIN, 0),
    RULE(STORE_STATUS_REPLY, hf_msg_store_status_reply, 0, ON_ADMIN),
    RULE(RAISE_FLOORS, hf_msg_watermark, ON_ADMIN, 0),
    RULE(SET_HIGH, hf_msg_watermark, ON_ADMIN, 0),
    RULE(LOAD_BEGIN, hf_msg_load_count, ON_LOADER, 0),
    RULE(SOURCE, hf_msg_source, ON_LOADER, 0),
    RULE(SOURCE_REPLY, hf_msg_source_reply, 0, ON_LOADER),
    RULE(KEY, hf_msg_key, ON_LOADER | ON_IMPORT, 0),
    RULE(KEY_FAILED, hf_msg_key_failed, ON_LOADER | ON_IMPORT, 0),
    RULE(KEY_PERSISTED, hf_msg_plain, ON_IMPORT, 0),
    RULE(LOAD_DONE, hf_msg_load_count, ON_LOADER, 0),
    ASK(DUTY_SIGN, hf_msg_duty_sign, ON_FRONT),
    RULE(DUTY_REPLY, hf_msg_duty_reply, 0, ON_FRONT),
    RULE(DUTY_ACQUIRE, hf_msg_duty_ask, 0, ON_DUTY),
    RULE(DUTY_COMPLETE, hf_msg_duty_ask, 0, ON_DUTY),
    RULE(DUTY_RELEASE, hf_msg_duty_ask, 0, ON_DUTY),
    RULE(DUTY_ANSWER, hf_msg_duty_answer, ON_DUTY, 0),
    RULE(DUTY_STATE, hf_msg_duty_state, ON_DUTY, 0),
    ASK(SEAL_STATUS, hf_msg_ask, ON_FRONT | ON_ADMIN),
    RULE(SEAL_STATUS_REPLY, hf_msg_seal_status_reply, 0, ON_FRONT | ON_ADMIN),
    ASK(SEAL_BEGIN, hf_msg_seal_begin, ON_FRONT | ON_ADMIN),
    RULE(SEAL_SHARES, hf_msg_seal_shares, 0, ON_FRONT | ON_ADMIN),
    ASK(SEAL_REGISTER, hf_msg_seal_register, ON_FRONT | ON_ADMIN),
    ASK(SEAL_SUBMIT, hf_msg_seal_submit, ON_FRONT | ON_ADMIN | ON_CONTROL),
    RULE(SEAL_KEYS_WANTED, hf_msg_plain, 0, ON_CONTROL),
    ASK(SEAL_CLOSE, hf_msg_ask, ON_FRONT | ON_ADMIN),
    ASK(SEAL_CANCEL, hf_msg_ask, ON_FRONT | ON_ADMIN),
    ASK(SEALED_ADD, hf_msg_sealed_add, ON_FRONT | ON_ADMIN),
    RULE(SEALED_ADDED, hf_msg_sealed_added, 0, ON_FRONT | ON_ADMIN),
    ASK(SEALED_CHANGE, hf_msg_sealed_change, ON_FRONT | ON_ADMIN),
    ASK(SEALED_LIST, hf_msg_sealed_list, ON_FRONT | ON_ADMIN),
    RULE(SEALED_LISTED, hf_msg_sealed_listed, 0, ON_FRONT | ON_ADMIN),
    RULE(STORE_MESSAGES, hf_msg_store_messages, 0, ON_STORE),
    RULE(STORE_VERDICTS, hf_msg_store_verdicts, ON_STORE, 0),
    RULE(STORE_CALL, hf_msg_store_call, 0, ON_STORE),
    RULE(STORE_RESULT, hf_msg_store_result, ON_STORE, 0),
    RULE(STORE_EXPORT, hf_msg_store_export, 0, ON_STORE),
    RULE(STORE_NEXT, hf_msg_plain, 0, ON_STORE),
    RULE(STORE_PAGE, hf_msg_store_page, ON_STORE, 0),
    RULE(STORE_HELLO, hf_msg_store_hello, ON_STORE, 0),
    RULE(STORE_CHANGE, hf_msg_store_records, 0, ON_STORE),
    RULE(STORE_RECORDS, hf_msg_store_records, ON_STORE, 0),
    ASK(TOKEN_CREATE, hf_msg_token_create, ON_FRONT | ON_ADMIN),
    RULE(TOKEN_CREATED, hf_msg_token_created, 0, ON_FRONT | ON_ADMIN),
    ASK(TOKEN_LIST, hf_msg_token_list, ON_FRONT | ON_ADMIN),
    RULE(TOKEN_PAGE, hf_msg_token_page, 0, ON_FRONT | ON_ADMIN),
    ASK(TOKEN_REVOKE, hf_msg_token_revoke, ON_FRONT | ON_ADMIN),
    RULE(POLICY_BOOK, hf_msg_policy_book, ON_CONTROL, 0),
    RULE(CANARY, hf_msg_canary, 0, ON_CONTROL),
    ASK(POLICY_PUT, hf_msg_policy_ask, ON_FRONT | ON_ADMIN),
    ASK(POLICY_GET, hf_msg_policy_ask, ON_FRONT | ON_ADMIN),
    RULE(POLICY_PART, hf_msg_policy_part, 0, ON_FRONT | ON_ADMIN),
    ASK(POLICY_LIST, hf_msg_policy_ask, ON_FRONT | ON_ADMIN),
    RULE(POLICY_PAGE, hf_msg_policy_page, 0, ON_FRONT | ON_ADMIN),
    ASK(POLICY_DELETE, hf_msg_policy_ask, ON_FRONT | ON_ADMIN),
    ASK(EXIT_APPROVE, hf_msg_exit_approve, ON_FRONT | ON_ADMIN),
    ASK(ETH1_SIGN, hf_msg_eth1_sign, ON_FRONT),
    RULE(ETH1_REPLY, hf_msg_eth1_reply, 0, ON_FRONT),
    ASK(ETH1_KEYS, hf_msg_eth1_keys, ON_FRONT | ON_ADMIN),
    RULE(ETH1_KEYS_REPLY, hf_msg_eth1_keys_reply, 0, ON_FRONT | ON_ADMIN),
    RULE(CUSTODY_CONFIG, hf_msg_custody_config, 0, ON_CONTROL),
    RULE(CUSTODY_LIST, hf_msg_plain, 0, ON_CUSTODY_KEYS),
    RULE(CUSTODY_BEGIN, hf_msg_plain, ON_CUSTODY_KEYS, 0),
    RULE(CUSTODY_KEY, hf_msg_custody_key, ON_CUSTODY_KEYS, 0),
    RULE(CUSTODY_FAILED, hf_msg_key_failed, ON_CUSTODY_KEYS, 0),
    RULE(CUSTODY_DONE, hf_msg_custody_done, ON_CUSTODY_KEYS, 0),
    RULE(CUSTODY_SIGN, hf_msg_custody_sign, 0, ON_CUSTODY),
    RULE(CUSTODY_SIGNED, hf_msg_custody_signed, ON_CUSTODY, 0),
    RULE(CUSTODY_WRAP, hf_msg_custody_wrap, 0, ON_CUSTODY),
    RULE(CUSTODY_UNWRAP, hf_msg_custody_wrap, 0, ON_CUSTODY),
    RULE(CUSTODY_WRAPPED, hf_msg_custody_wrapped, ON_CUSTODY, 0),
    RULE(CUSTODY_STATE, hf_msg_custody_state, ON_CUSTODY, 0),
    ASK(NODE_CALL, hf_msg_ask, ON_FRONT),
    RULE(RELAY_CONFIG, hf_msg_relay_config, 0, ON_CONTROL),
    RULE(RELAY_ASK, hf_msg_relay_ask, ON_RELAY, 0),
    RULE(RELAY_ANSWER, hf_msg_relay_answer, 0, ON_RELAY),
    RULE(RELAY_HELLO, hf_msg_relay_hello, 0, ON_RELAY),
};

#define NO_PADDING(shape, bytes) _Static_assert(sizeof(shape) == (bytes), #shape " has padding")

NO_PADDING(hf_frame_header, 16);
NO_PADDING(hf_fork_info, 4 + 4 + 8 + 32);
NO_PADDING(hf_attestation_data, 8 + 8 + 32 + 40 + 40);
NO_PADDING(hf_block_header, 8 + 8 + 32 + 32 + 32);
NO_PADDING(hf_eth_request, 8 + 48 + 32 + sizeof(hf_fork_info) + sizeof(hf_eth_fields));
NO_PADDING(hf_message, 4 + 48 + 4 + 24 + 32);
NO_PADDING(hf_caller, 80 + 16 + 64 + 2 + 6);
NO_PADDING(hf_msg_sign, 16 + sizeof(hf_caller) + 16 + sizeof(hf_eth_request));
NO_PADDING(hf_cidr, 16 + 8);
NO_PADDING(hf_token_terms, 4 * 4 + 8 + 8 + HF_AUTH_NAME_LEN +
                               HF_AUTH_POLICIES_MAX * HF_AUTH_POLICY_NAME_LEN +
                               HF_AUTH_SOURCES_MAX * sizeof(hf_cidr));
NO_PADDING(hf_token_view, HF_AUTH_ACCESSOR_LEN + 8 + 8 + sizeof(hf_token_terms));
NO_PADDING(hf_msg_token_create, 16 + sizeof(hf_caller) + 8 + sizeof(hf_token_terms));
NO_PADDING(hf_msg_token_created, 16 + 80 + sizeof(hf_token_view));
NO_PADDING(hf_msg_token_list, 16 + sizeof(hf_caller) + HF_AUTH_ACCESSOR_LEN);
NO_PADDING(hf_msg_token_page, 16 + 8 + HF_TOKENS_PAGE * sizeof(hf_token_view));
NO_PADDING(hf_msg_sign_reply, 16 + 8 + 96 + 160);
NO_PADDING(hf_msg_result, 16 + 8 + 8 + 160);
NO_PADDING(hf_msg_export_page, 16 + 16 + HF_EXPORT_PAGE * sizeof(hf_message));
NO_PADDING(hf_duty, 20 + 20 + 8 + 4 + 4 + 8 + 8);
NO_PADDING(hf_msg_duty_sign, 16 + sizeof(hf_caller) + 16 + 72 + 32);
NO_PADDING(hf_msg_duty_reply, 16 + 8 + 64 + 256 + 160);
NO_PADDING(hf_msg_duty_ask, 16 + 8 + 72 + 32 + 64 + 72);
NO_PADDING(hf_msg_duty_answer, 16 + 8 + 64 + 64 + 256 + 160);
NO_PADDING(hf_eth1_settings, 8 + 1 + 1 + 6);
NO_PADDING(hf_msg_eth1_sign, 16 + sizeof(hf_caller) + 16 + 12 + 20 + HF_ETH1_INLINE_BYTES);
NO_PADDING(hf_msg_eth1_reply, 16 + 4 + 1 + 65 + 2 + 160);
NO_PADDING(hf_msg_eth1_keys, 16 + sizeof(hf_caller) + 8);
NO_PADDING(hf_eth1_key_entry, 20 + 4 + 4 + 64);
NO_PADDING(hf_msg_eth1_keys_reply, 16 + 16 + HF_ETH1_KEYS_PAGE * sizeof(hf_eth1_key_entry));
NO_PADDING(hf_seal_kdf, 8 + 8 + 16);
NO_PADDING(hf_seal_candidate, 40 + 32 + 32 + 256);
NO_PADDING(hf_msg_seal_begin, 16 + sizeof(hf_caller) + 8 + 16 * sizeof(hf_seal_candidate));
NO_PADDING(hf_msg_seal_shares, 16 + 16 + 16 * 72 + 160);
NO_PADDING(hf_msg_seal_register, 16 + sizeof(hf_caller) + sizeof(hf_seal_candidate));
NO_PADDING(hf_msg_seal_submit, 16 + sizeof(hf_caller) + 33 + 1 + 33 + 5);
NO_PADDING(hf_seal_holder_state, 40 + 8 + 32 + 256);
NO_PADDING(hf_msg_seal_status_reply, 16 + 8 + 16 + 20 + 16 + 4 + 160 + 32 * 336);
NO_PADDING(hf_msg_sealed_add, 16 + sizeof(hf_caller) + 8 + HF_SEALED_ADD_MAX * 40);
NO_PADDING(hf_msg_sealed_added, 16 + 8 + 160 + HF_SEALED_ADD_MAX * 56);
NO_PADDING(hf_msg_sealed_change, 16 + sizeof(hf_caller) + 8 + 48);
NO_PADDING(hf_msg_sealed_listed, 16 + 16 + 256 * 64);
NO_PADDING(hf_msg_store_config, 16 + 16 + 32 + 16 + 2048 + 256 + 64 + 512);
NO_PADDING(hf_msg_store_messages, 16 + 24 + HF_STORE_PAGE * sizeof(hf_message));
NO_PADDING(hf_store_mark, 16 + 32 + 8);
NO_PADDING(hf_store_anchor, 16 + 8 + 32);
NO_PADDING(hf_guard_report, 16 + sizeof(hf_watermark));
NO_PADDING(hf_msg_store_verdicts, 16 + 16 + HF_STORE_BATCH_MAX + 160 + sizeof(hf_store_mark));
NO_PADDING(hf_msg_store_call,
           16 + 8 + 8 + 16 + sizeof(hf_watermark) + 16 + sizeof(hf_store_anchor));
NO_PADDING(hf_msg_store_result, 16 + 8 + 160 + 24 + 32 + sizeof(hf_store_status) +
                                    sizeof(hf_store_mark) + sizeof(hf_store_anchor));
NO_PADDING(hf_msg_store_export, 16 + 8 + 48);
NO_PADDING(hf_msg_store_page, 16 + 16 + 160 + HF_STORE_PAGE * sizeof(hf_message));
NO_PADDING(hf_record_head, 4 + 4 + 8 + 48 + 8);
NO_PADDING(hf_msg_store_records, 16 + 32 + 160 + HF_RECORDS_PAGE_BYTES);
NO_PADDING(hf_msg_store_hello, 16 + 8 + HF_PROTECTIONS_MAX * sizeof(hf_protection));
NO_PADDING(hf_msg_duty_state,
           16 + 8 + sizeof(hf_duty_counters) + 160 + HF_PROTECTIONS_MAX * sizeof(hf_protection));
NO_PADDING(hf_block_proof, 4 + 4 + 32 + HF_BLOCK_PROOF_DEPTH * 32);
NO_PADDING(hf_proven_block, 112 + 8 + HF_BLOCK_PROOFS_MAX * sizeof(hf_block_proof));
NO_PADDING(hf_msg_canary, 16 + 16 + 48 + 32 + 16 + 64);
NO_PADDING(hf_msg_policy_ask, 16 + sizeof(hf_caller) + 48 + 8);
NO_PADDING(hf_msg_exit_approve, 16 + sizeof(hf_caller) + 8 + 48);
NO_PADDING(hf_msg_policy_part, 16 + 24 + HF_POLICY_PART_BYTES);
NO_PADDING(hf_msg_policy_page, 16 + 16 + HF_POLICIES_PAGE * 56);
NO_PADDING(hf_custody_settings, 4 + HF_CUSTODY_SETTINGS_LEN);
NO_PADDING(hf_msg_custody_config, 16 + 16 + 24 + sizeof(hf_custody_settings));
NO_PADDING(hf_msg_custody_key, 16 + 16 + 16 + 32 + 72 + 256);
NO_PADDING(hf_msg_custody_done, 16 + 16 + 160);
NO_PADDING(hf_msg_custody_sign, 16 + 24 + HF_CUSTODY_MESSAGE_MAX);
NO_PADDING(hf_msg_custody_signed, 16 + 8 + 64 + 160);
NO_PADDING(hf_msg_custody_wrap, 16 + 16 + 256 + HF_CUSTODY_CONTEXT_MAX + HF_CUSTODY_BLOB_MAX);
NO_PADDING(hf_msg_custody_wrapped, 16 + 8 + HF_CUSTODY_BLOB_MAX + 160);
NO_PADDING(hf_msg_relay_config, 16 + 16 + 8 + HF_NODE_URL_LEN + 3 * HF_PATH_LEN);
NO_PADDING(hf_msg_relay_ask, 16 + 16);
NO_PADDING(hf_msg_relay_answer, 16 + 8);
NO_PADDING(hf_msg_relay_hello, 16 + 8 + HF_PROTECTIONS_MAX * sizeof(hf_protection));
NO_PADDING(hf_msg_custody_state, 16 + 8 + 160 + HF_PROTECTIONS_MAX * sizeof(hf_protection));
_Static_assert(sizeof(hf_msg_loader_config) <= HF_IPC_MAX_BYTES, "a frame fits the buffer");

void hf_frame_init(void *frame, hf_msg_type type, uint64_t request_id)
{
    hf_frame_header header = {HF_IPC_MAGIC, HF_IPC_VERSION, (uint16_t)type, request_id};
    memcpy(frame, &header, sizeof header);
}

size_t hf_frame_size(uint16_t type)
{
    return type < HF_MSG_COUNT_TYPES ? rules[type].size : 0;
}

const char *hf_frame_name(uint16_t type)
{
    return hf_frame_size(type) != 0 ? rules[type].name : "UNKNOWN";
}

hf_caller *hf_frame_caller(void *frame)
{
    hf_frame_header *header = frame;
    bool has_caller = header->type < HF_MSG_COUNT_TYPES && rules[header->type].has_caller;
    return has_caller ? (hf_caller *)(header + 1) : NULL;
}

bool hf_frame_is_acceptable(const void *frame, size_t len, hf_channel channel, bool to_keeper)
{
    hf_frame_header header;
    if (len < sizeof header || channel >= HF_CHANNEL_COUNT) {
        return false;
    }
    memcpy(&header, frame, sizeof header);
    if (header.magic != HF_IPC_MAGIC || header.version != HF_IPC_VERSION ||
        hf_frame_size(header.type) != len) {
        return false;
    }
    const frame_rule *rule = &rules[header.type];
    return ((to_keeper ? rule->to_keeper : rule->from_keeper) & ON(channel)) != 0;
}

hf_status hf_channel_pair(bool nonblocking, int ret_fds[2])
{
    int type = SOCK_SEQPACKET | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
    if (socketpair(AF_UNIX, type, 0, ret_fds) != 0) {
        return (hf_status){HF_IO};
    }
    return hf_ok();
}

static hf_status send_message(int fd, const struct msghdr *message)
{
    for (;;) {
        if (sendmsg(fd, message, MSG_NOSIGNAL) >= 0) {
            return hf_ok();
        }
        if (errno == EAGAIN || errno == ENOBUFS) {
            return (hf_status){HF_UNAVAILABLE};
        }
        if (errno == EPIPE || errno == ECONNRESET) {
            return (hf_status){HF_NOT_FOUND};
        }
        if (errno != EINTR) {
            return (hf_status){HF_IO};
        }
    }
}

hf_status hf_frame_send(int fd, const void *frame)
{
    hf_frame_header header;
    memcpy(&header, frame, sizeof header);
    size_t len = hf_frame_size(header.type);
    HF_ASSERT(len != 0);
    struct iovec part = {.iov_base = (void *)(uintptr_t)frame, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return send_message(fd, &message);
}

void hf_say_alive(int control_fd, uint64_t *due_ns)
{
    hf_msg_plain alive;
    uint64_t now_ns = hf_time_mono_ns();
    if (now_ns < *due_ns) {
        return;
    }
    *due_ns = now_ns + HF_ALIVE_EVERY_MS * HF_NS_PER_MS;
    hf_frame_init(&alive, HF_MSG_READY, 0);
    hf_status unheard = hf_frame_send(control_fd, &alive);
    (void)unheard; /* a supervisor that is stopped counts no silence, and one that died is told */
}

hf_status hf_frame_send_fd(int fd, const void *frame, int passed_fd)
{
    hf_frame_header header;
    memcpy(&header, frame, sizeof header);
    size_t len = hf_frame_size(header.type);
    HF_ASSERT(len != 0);
    struct iovec part = {.iov_base = (void *)(uintptr_t)frame, .iov_len = len};
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &passed_fd, sizeof passed_fd);
    return send_message(fd, &message);
}

int hf_frame_take_descriptor(struct msghdr *message)
{
    int taken = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (taken < 0) {
                taken = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    return taken;
}

hf_status hf_frame_recv(int fd, void *buf, size_t *ret_len, int *ret_fd)
{
    struct iovec part = {.iov_base = buf, .iov_len = HF_IPC_MAX_BYTES};
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(4 * sizeof(int))];
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    ssize_t n;
    do {
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        if (errno == EAGAIN) {
            return (hf_status){HF_UNAVAILABLE};
        }
        return (hf_status){errno == ECONNRESET ? HF_NOT_FOUND : HF_IO};
    }
    int passed = hf_frame_take_descriptor(&message);
    if (passed >= 0 && ret_fd == NULL) {
        (void)close(passed);
        passed = -1;
    }
    if (n == 0 && passed < 0) {
        *ret_len = 0;
        return (hf_status){HF_NOT_FOUND};
    }
    /* A truncated frame is longer than any type: report a length that none has. */
    *ret_len = (message.msg_flags & MSG_TRUNC) != 0 ? HF_IPC_MAX_BYTES + 1U : (size_t)n;
    if (ret_fd != NULL) {
        *ret_fd = passed;
    }
    return hf_ok();
}

hf_status hf_frame_recv_config(int control_fd, hf_msg_type type, void *ret_config, hf_error *err)
{
    static uint8_t frame[HF_IPC_MAX_BYTES];
    hf_frame_header header = {.type = 0};
    size_t len = 0;
    hf_status st = hf_frame_recv(control_fd, frame, &len, NULL);
    bool is_one =
        !hf_failed(st) && (hf_frame_is_acceptable(frame, len, HF_CHANNEL_CONTROL, false) ||
                           hf_frame_is_acceptable(frame, len, HF_CHANNEL_CONTROL, true));
    if (is_one) {
        memcpy(&header, frame, sizeof header);
        is_one = header.type == type;
    }
    if (is_one) {
        memcpy(ret_config, frame, len);
    }
    hf_wipe(frame, sizeof frame);
    return is_one ? hf_ok()
                  : hf_fail(err, HF_USAGE,
                            "no configuration came on descriptor %d: this program is started by "
                            "`holdfast serve`",
                            control_fd);
}
