/* Does the chain hold? Over lines, and over files that hold them. */
#include "audit/audit.h"

#include <errno.h>
#include <unistd.h>

#define READ_BYTES 65536

void hf_audit_check_init(hf_audit_check *check, const uint8_t key[HF_AUDIT_KEY_BYTES])
{
    memset(check, 0, sizeof *check);
    memcpy(check->key, key, HF_AUDIT_KEY_BYTES);
    check->at_file_start = true;
}

void hf_audit_check_file(hf_audit_check *check)
{
    check->at_file_start = true;
    check->file_lines = 0;
    check->file_bytes = 0;
}

static bool is_mac(const uint8_t *a, const uint8_t *b)
{
    return hf_bytes_equal(a, b, HF_AUDIT_MAC_BYTES);
}

/* The first line of a file says what it follows: of the first file it is taken at its word. */
static hf_audit_fault judge_first(const hf_audit_check *check, const hf_audit_line *line)
{
    char id[HF_AUDIT_KEY_ID_LEN];
    hf_audit_key_id(check->key, id);
    if (!line->is_first) {
        return HF_AUDIT_NO_FIRST;
    }
    if (!hf_bytes_equal(id, line->key_id, sizeof id)) {
        return HF_AUDIT_OTHER_KEY;
    }
    bool follows = line->seq == check->head.seq + 1 && is_mac(line->previous, check->head.mac);
    return !check->has_begun || follows ? HF_AUDIT_SOUND : HF_AUDIT_NOT_FOLLOWING;
}

static hf_audit_fault judge(const hf_audit_check *check, const hf_audit_line *line,
                            const char *text)
{
    uint8_t mac[HF_AUDIT_MAC_BYTES];
    const uint8_t *previous = check->head.mac;
    if (check->at_file_start) {
        hf_audit_fault fault = judge_first(check, line);
        if (fault != HF_AUDIT_SOUND) {
            return fault;
        }
        previous = line->previous;
    } else if (line->seq > check->head.seq + 1) {
        return HF_AUDIT_GAP;
    } else if (line->seq <= check->head.seq) {
        return HF_AUDIT_OUT_OF_PLACE;
    }
    hf_audit_mac(check->key, previous, text, line->body_len, mac);
    return is_mac(mac, line->mac) ? HF_AUDIT_SOUND : HF_AUDIT_CHANGED;
}

static void look_for_wanted(hf_audit_check *check, uint64_t seq, const uint8_t *mac, int64_t unix_s)
{
    if (check->has_wanted && seq == check->wanted.seq && is_mac(mac, check->wanted.mac)) {
        check->found_wanted = true;
        check->wanted_unix_s = unix_s;
    }
}

bool hf_audit_check_line(hf_audit_check *check, const char *text, size_t len)
{
    hf_audit_line line;
    HF_ASSERT(check->fault == HF_AUDIT_SOUND);
    check->fault = HF_AUDIT_MALFORMED;
    if (!hf_failed(hf_audit_line_parse(text, len, &line))) {
        check->fault = judge(check, &line, text);
    }
    if (check->fault != HF_AUDIT_SOUND) {
        return false;
    }
    if (!check->has_begun) {
        check->has_begun = true;
        check->wanted_unix_s = line.unix_s; /* when it lies before: no later than that */
        check->first.seq = line.seq - 1;
        memcpy(check->first.mac, line.previous, HF_AUDIT_MAC_BYTES);
        look_for_wanted(check, check->first.seq, check->first.mac, line.unix_s);
    }
    check->at_file_start = false;
    check->head.seq = line.seq;
    memcpy(check->head.mac, line.mac, HF_AUDIT_MAC_BYTES);
    look_for_wanted(check, line.seq, line.mac, line.unix_s);
    check->last_unix_s = line.unix_s;
    check->lines++;
    check->file_lines++;
    check->file_bytes += len + 1;
    return true;
}

void hf_audit_check_describe(const hf_audit_check *check, char *out, size_t out_len)
{
    static const char *const sentences[] = {
        [HF_AUDIT_SOUND] = "sound",
        [HF_AUDIT_TORN] = "the last line is cut off",
        [HF_AUDIT_MALFORMED] = "not a line of an audit log",
        [HF_AUDIT_CHANGED] = "this line was changed, or lies behind another line than it followed",
        [HF_AUDIT_GAP] = "lines are missing before this one",
        [HF_AUDIT_OUT_OF_PLACE] = "this line is repeated or out of place",
        [HF_AUDIT_NO_FIRST] = "the beginning of the file is missing",
        [HF_AUDIT_NOT_FOLLOWING] = "the file does not follow the one before it",
        [HF_AUDIT_OTHER_KEY] = "written with another audit key",
    };
    (void)snprintf(out, out_len, "line %llu: %s", (unsigned long long)check->file_lines + 1,
                   sentences[check->fault]);
}

/* ---- files ------------------------------------------------------------------------------------
 */

typedef struct file_walk {
    hf_audit_check *check;
    hf_audit_visitor visitor;
    void *context;
    size_t held; /* bytes of an unfinished line in buf */
    char buf[READ_BYTES + HF_AUDIT_LINE_MAX];
} file_walk;

/* All whole lines of the buffer; what is left moves to its beginning. */
static hf_status walk_lines(file_walk *walk)
{
    hf_status st = hf_ok();
    size_t at = 0;
    while (walk->check->fault == HF_AUDIT_SOUND && !hf_failed(st)) {
        const char *end = memchr(walk->buf + at, '\n', walk->held - at);
        if (end == NULL) {
            break;
        }
        size_t len = (size_t)(end - (walk->buf + at));
        if (hf_audit_check_line(walk->check, walk->buf + at, len) && walk->visitor != NULL) {
            st = walk->visitor(walk->context, walk->buf + at, len);
        }
        at += len + 1;
    }
    if (walk->held - at >= HF_AUDIT_LINE_MAX && walk->check->fault == HF_AUDIT_SOUND) {
        walk->check->fault = HF_AUDIT_MALFORMED; /* no line of ours is so long */
    }
    walk->held -= at;
    if (walk->check->fault == HF_AUDIT_SOUND) {
        memmove(walk->buf, walk->buf + at, walk->held);
    }
    return st;
}

hf_status hf_audit_check_fd(hf_audit_check *check, int fd, const char *name,
                            hf_audit_visitor visitor, void *context, hf_error *err)
{
    hf_status st = hf_ok();
    off_t offset = 0;
    file_walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL) {
        return hf_fail(err, HF_NOMEM, "%s: out of memory", name);
    }
    walk->check = check;
    walk->visitor = visitor;
    walk->context = context;
    hf_audit_check_file(check);
    while (check->fault == HF_AUDIT_SOUND && !hf_failed(st)) {
        ssize_t n = pread(fd, walk->buf + walk->held, READ_BYTES, offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            st = hf_fail(err, HF_IO, "%s: %s", name, strerror(errno));
            break;
        }
        if (n == 0) {
            check->fault = walk->held > 0 ? HF_AUDIT_TORN : HF_AUDIT_SOUND;
            break;
        }
        offset += n;
        walk->held += (size_t)n;
        st = walk_lines(walk);
    }
    free(walk);
    return st;
}
