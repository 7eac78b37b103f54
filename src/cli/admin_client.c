/* The client side of DATA_DIR/admin.sock. */
#include "admin_client.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct hf_admin {
    int fd;
    uint64_t last_id;
    uint8_t buf[HF_IPC_MAX_BYTES];
};

/* Over /proc/self/fd, because the path of a folder may be longer than a socket's name can be. */
static int connect_in(const char *data_dir)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int folder = open(data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) {
        return -1;
    }
    (void)snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/admin.sock", folder);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&name, sizeof name) != 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        fd = -1;
    }
    int saved = errno;
    (void)close(folder);
    errno = saved;
    return fd;
}

hf_status hf_admin_connect(const char *data_dir, hf_admin **ret_admin, hf_error *err)
{
    struct timeval patience = {.tv_sec = HF_ADMIN_PATIENCE_SECONDS};
    int fd = connect_in(data_dir);
    if (fd < 0 && (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)) {
        return hf_fail(err, HF_NOT_FOUND, "%s: no signer runs there", data_dir);
    }
    if (fd < 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s/admin.sock: %s", data_dir, strerror(errno));
    }
    hf_admin *admin = calloc(1, sizeof *admin);
    if (admin == NULL) {
        (void)close(fd);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    admin->fd = fd;
    *ret_admin = admin;
    return hf_ok();
}

void hf_admin_close(hf_admin *admin)
{
    if (admin != NULL) {
        (void)close(admin->fd);
        hf_wipe(admin->buf, sizeof admin->buf);
        free(admin);
    }
}

void hf_admin_peer(const hf_admin *admin, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid)
{
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    if (getsockopt(admin->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
        *ret_pid = peer.pid;
        *ret_uid = peer.uid;
        *ret_gid = peer.gid;
    }
}

hf_status hf_admin_reason(uint32_t reason, const char *detail, hf_error *err)
{
    hf_code code = HF_UNAVAILABLE;
    const hf_reason_info *info = hf_reason_describe((hf_reason)reason);
    if (reason == HF_REASON_OK) {
        return hf_ok();
    }
    if (info->http_status < 500) {
        code = info->http_status == 409 ? HF_CONFLICT : HF_DENIED;
    }
    return hf_fail(err, code, "the signer answers: %s",
                   detail[0] != '\0' ? detail : info->sentence);
}

/* The next frame that answers this request; what an earlier one left unread is passed over. */
static hf_status receive(hf_admin *admin, hf_frame_header *ret_header, hf_error *err)
{
    for (;;) {
        size_t len = 0;
        hf_status st = hf_frame_recv(admin->fd, admin->buf, &len, NULL);
        if (st.code == HF_UNAVAILABLE) {
            return hf_fail(err, HF_UNAVAILABLE, "the signer does not answer");
        }
        if (hf_failed(st)) {
            return hf_fail(err, HF_UNAVAILABLE, "the signer closed the connection");
        }
        if (!hf_frame_is_acceptable(admin->buf, len, HF_CHANNEL_ADMIN, false)) {
            return hf_fail(err, HF_INTERNAL,
                           "the signer speaks another version: use its own holdfast command");
        }
        memcpy(ret_header, admin->buf, sizeof *ret_header);
        if (ret_header->request_id == admin->last_id) {
            return hf_ok();
        }
    }
}

hf_status hf_admin_call(hf_admin *admin, void *frame, hf_msg_type type, hf_msg_type expected,
                        void *ret_answer, hf_error *err)
{
    return hf_admin_call_fd(admin, frame, -1, type, expected, ret_answer, err);
}

hf_status hf_admin_call_fd(hf_admin *admin, void *frame, int fd, hf_msg_type type,
                           hf_msg_type expected, void *ret_answer, hf_error *err)
{
    hf_frame_header header;
    admin->last_id++;
    hf_frame_init(frame, type, admin->last_id);
    hf_status st =
        fd < 0 ? hf_frame_send(admin->fd, frame) : hf_frame_send_fd(admin->fd, frame, fd);
    if (hf_failed(st)) {
        return hf_fail(err, HF_UNAVAILABLE, "the signer closed the connection");
    }
    st = receive(admin, &header, err);
    if (hf_failed(st)) {
        return st;
    }
    if (header.type == HF_MSG_RESULT) {
        hf_msg_result result;
        memcpy(&result, admin->buf, sizeof result);
        result.detail[sizeof result.detail - 1] = '\0';
        st = hf_admin_reason(result.reason, result.detail, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    if (header.type != expected) {
        return hf_fail(err, HF_INTERNAL, "the signer answered with another kind of frame");
    }
    if (ret_answer != NULL) {
        memcpy(ret_answer, admin->buf, hf_frame_size(header.type));
    }
    return hf_ok();
}
