/* The sockets that clients and operators connect to. */
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ADMIN_NAME "admin.sock"
#define ADMIN_BACKLOG 16
#define PORT_TEXT_LEN 8

static hf_status describe_listener(int fd, char text[HF_ADDRESS_LEN])
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof name;
    char host[64];
    char port[PORT_TEXT_LEN];
    if (getsockname(fd, (struct sockaddr *)&name, &len) != 0 ||
        getnameinfo((struct sockaddr *)&name, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return (hf_status){HF_IO};
    }
    return name.ss_family == AF_INET6 ? hf_str_format(text, HF_ADDRESS_LEN, "[%s]:%s", host, port)
                                      : hf_str_format(text, HF_ADDRESS_LEN, "%s:%s", host, port);
}

/* Accepted connections inherit no-delay and keep-alive from the listener. */
static bool prepare_listener(int fd, const struct addrinfo *where)
{
    const int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
           bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
}

static const char *remedy_of(int error)
{
    switch (error) {
    case EADDRINUSE:
        return ": another process listens there (ss -ltnp); stop it, or give another port";
    case EACCES:
        return ": ports below 1024 are for root; give another";
    case EADDRNOTAVAIL:
        return ": this machine has no such address";
    default:
        return "";
    }
}

hf_status hf_listen_tcp(const char *address, uint16_t port, int *ret_fd, char text[HF_ADDRESS_LEN],
                        hf_error *err)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *where = NULL;
    char port_text[PORT_TEXT_LEN];
    hf_status st = hf_ok();
    (void)snprintf(port_text, sizeof port_text, "%u", (unsigned)port);
    if (getaddrinfo(address, port_text, &hints, &where) != 0) {
        return hf_fail(err, HF_USAGE, "%s: not an IP address to listen on", address);
    }
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !prepare_listener(fd, where)) {
        int error = errno;
        st = hf_fail(err, HF_IO, "cannot listen on %s port %s: %s%s", address, port_text,
                     strerror(error), remedy_of(error));
        goto out;
    }
    st = describe_listener(fd, text);
    if (hf_failed(st)) {
        st = hf_fail(err, st.code, "cannot name the listener on %s", address);
        goto out;
    }
    *ret_fd = fd;
    fd = -1;
out:
    freeaddrinfo(where);
    if (fd >= 0) {
        (void)close(fd);
    }
    return st;
}

/*
 * A socket's path is 107 bytes at most and a folder's may be longer: bind in the folder itself. The
 * supervisor has one thread, so nobody else meets the changed working folder.
 */
static bool bind_in_folder(int fd, const char *data_dir)
{
    const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = ADMIN_NAME};
    bool bound = false;
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0) {
        return false;
    }
    if (chdir(data_dir) == 0) {
        (void)unlink(ADMIN_NAME);
        mode_t old = umask(S_IRWXG | S_IRWXO | S_IXUSR);
        bound = bind(fd, (const struct sockaddr *)&name, sizeof name) == 0;
        (void)umask(old);
    }
    int saved = errno;
    if (fchdir(here) != 0) {
        bound = false;
    }
    (void)close(here);
    errno = saved;
    return bound;
}

hf_status hf_listen_admin(const char *data_dir, int *ret_fd, hf_error *err)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !bind_in_folder(fd, data_dir) || listen(fd, ADMIN_BACKLOG) != 0) {
        hf_status st = hf_fail(err, HF_IO, "%s/%s: %s", data_dir, ADMIN_NAME, strerror(errno));
        if (fd >= 0) {
            (void)close(fd);
        }
        return st;
    }
    *ret_fd = fd;
    return hf_ok();
}

void hf_unlink_admin(const char *data_dir)
{
    char path[HF_PATH_LEN + sizeof ADMIN_NAME];
    if (!hf_failed(hf_str_format(path, sizeof path, "%s/%s", data_dir, ADMIN_NAME))) {
        (void)unlink(path);
    }
}

hf_status hf_accept_admin(int listen_fd, int *ret_fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return (hf_status){HF_NOT_FOUND};
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
        (peer.uid != geteuid() && peer.uid != 0)) {
        (void)close(fd);
        return (hf_status){HF_DENIED};
    }
    *ret_fd = fd;
    return hf_ok();
}
