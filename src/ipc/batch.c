/* Several frames by one system call: under load the calls would cost more than the frames. */
#include "ipc/ipc_internal.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* Fronts and loaders send, and keepers answer, nothing larger. */
#define PLACE_BYTES 24576
#define CONTROL_BYTES CMSG_SPACE(4 * sizeof(int))

_Static_assert(sizeof(hf_msg_keys_reply) <= PLACE_BYTES, "the largest answer fits");
_Static_assert(sizeof(hf_msg_metrics_reply) <= PLACE_BYTES, "the largest answer fits");
_Static_assert(sizeof(hf_msg_import_add) <= PLACE_BYTES, "the largest question fits");
_Static_assert(sizeof(hf_msg_token_page) <= PLACE_BYTES, "the largest answer fits");
_Static_assert(sizeof(hf_msg_eth1_keys_reply) <= PLACE_BYTES, "the largest answer fits");
_Static_assert(sizeof(hf_msg_status_reply) <= PLACE_BYTES, "the largest answer fits");
_Static_assert(sizeof(hf_msg_custody_wrap) <= PLACE_BYTES, "the largest question fits");
_Static_assert(sizeof(hf_msg_eth1_sign) <= PLACE_BYTES, "the largest question fits");

typedef struct inbox_place {
    _Alignas(64) uint8_t frame[PLACE_BYTES];
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
    size_t len;
    int fd;
} inbox_place;

struct hf_inbox {
    size_t count;
    inbox_place places[HF_INBOX_FRAMES];
};

static hf_code code_of(int error)
{
    switch (error) {
    case EAGAIN:
    case ENOBUFS:
        return HF_UNAVAILABLE;
    case EPIPE:
    case ECONNRESET:
        return HF_NOT_FOUND;
    default:
        return HF_IO;
    }
}

hf_status hf_frames_send(int fd, const void *const frames[], size_t n, size_t *ret_sent)
{
    struct mmsghdr messages[HF_OUTBOX_FRAMES];
    struct iovec parts[HF_OUTBOX_FRAMES];
    HF_ASSERT(n > 0 && n <= HF_OUTBOX_FRAMES);
    memset(messages, 0, n * sizeof messages[0]);
    for (size_t i = 0; i < n; i++) {
        hf_frame_header header;
        memcpy(&header, frames[i], sizeof header);
        HF_ASSERT(hf_frame_size(header.type) != 0);
        parts[i].iov_base = (void *)(uintptr_t)frames[i];
        parts[i].iov_len = hf_frame_size(header.type);
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    *ret_sent = 0;
    while (*ret_sent < n) {
        int sent = sendmmsg(fd, messages + *ret_sent, (unsigned)(n - *ret_sent), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            return (hf_status){code_of(errno)};
        }
        *ret_sent += (size_t)sent;
    }
    return hf_ok();
}

hf_inbox *hf_inbox_new(void)
{
    hf_inbox *inbox = NULL;
    if (posix_memalign((void **)&inbox, _Alignof(hf_inbox), sizeof *inbox) != 0) {
        return NULL;
    }
    inbox->count = 0;
    return inbox;
}

static void close_unclaimed(hf_inbox *inbox)
{
    for (size_t i = 0; i < inbox->count; i++) {
        if (inbox->places[i].fd >= 0) {
            (void)close(inbox->places[i].fd);
            inbox->places[i].fd = -1;
        }
    }
}

void hf_inbox_free(hf_inbox *inbox)
{
    if (inbox != NULL) {
        close_unclaimed(inbox);
        free(inbox);
    }
}

hf_status hf_inbox_receive(hf_inbox *inbox, int fd, size_t most, size_t *ret_n)
{
    struct mmsghdr messages[HF_INBOX_FRAMES];
    struct iovec parts[HF_INBOX_FRAMES];
    HF_ASSERT(most > 0 && most <= HF_INBOX_FRAMES);
    close_unclaimed(inbox);
    inbox->count = 0;
    memset(messages, 0, most * sizeof messages[0]);
    for (size_t i = 0; i < most; i++) {
        parts[i].iov_base = inbox->places[i].frame;
        parts[i].iov_len = PLACE_BYTES;
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = inbox->places[i].control;
        messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
    }
    int got;
    do {
        got = recvmmsg(fd, messages, (unsigned)most, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return (hf_status){code_of(errno)};
    }
    for (int i = 0; i < got; i++) {
        inbox_place *place = &inbox->places[i];
        place->fd = hf_frame_take_descriptor(&messages[i].msg_hdr);
        if (messages[i].msg_len == 0 && place->fd < 0) { /* the other end is gone */
            break;
        }
        /* A truncated frame is longer than any type: report a length that none has. */
        bool is_cut = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        place->len = is_cut ? PLACE_BYTES + 1U : messages[i].msg_len;
        inbox->count++;
    }
    *ret_n = inbox->count;
    return inbox->count > 0 ? hf_ok() : (hf_status){HF_NOT_FOUND};
}

const void *hf_inbox_peek(const hf_inbox *inbox, size_t i, size_t *ret_len)
{
    HF_ASSERT(i < inbox->count);
    *ret_len = inbox->places[i].len;
    return inbox->places[i].frame;
}

int hf_inbox_take_fd(hf_inbox *inbox, size_t i)
{
    HF_ASSERT(i < inbox->count);
    int fd = inbox->places[i].fd;
    inbox->places[i].fd = -1;
    return fd;
}

void hf_inbox_wipe(hf_inbox *inbox)
{
    for (size_t i = 0; i < inbox->count; i++) {
        size_t len = inbox->places[i].len;
        hf_wipe(inbox->places[i].frame, len < PLACE_BYTES ? len : PLACE_BYTES);
    }
}
