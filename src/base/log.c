/* One event, one line, one write(2): lines of several processes never mix. */
#include "base.h"

#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define SENTENCE_BYTES 640

static struct {
    const char *process;
    hf_log_format format;
    hf_log_level least;
    bool is_journal;
} state = {.process = "holdfast", .format = HF_LOG_TEXT, .least = HF_LOG_INFO};

/* Is standard error what $JOURNAL_STREAM names (systemd.exec(5)), and nothing else by now? */
static bool writes_to_journal(void)
{
    struct stat info;
    char name[64];
    const char *stream = getenv("JOURNAL_STREAM");
    if (stream == NULL || fstat(STDERR_FILENO, &info) != 0) {
        return false;
    }
    (void)snprintf(name, sizeof name, "%llu:%llu", (unsigned long long)info.st_dev,
                   (unsigned long long)info.st_ino);
    return strcmp(stream, name) == 0;
}

void hf_log_init(const char *process, hf_log_format format, hf_log_level least)
{
    state.process = process;
    state.format = format;
    state.least = least;
    state.is_journal = writes_to_journal();
}

static const char *level_name(hf_log_level level)
{
    switch (level) {
    case HF_LOG_DEBUG:
        return "debug";
    case HF_LOG_INFO:
        return "info";
    case HF_LOG_UNUSUAL:
        return "unusual";
    case HF_LOG_BROKEN:
        return "broken";
    }
    return "unknown";
}

/* How the journal is told a line's level (sd-daemon(3)); it takes that off again. */
static const char *journal_prefix(hf_log_level level)
{
    if (!state.is_journal) {
        return "";
    }
    switch (level) {
    case HF_LOG_DEBUG:
        return "<7>";
    case HF_LOG_INFO:
        return "<6>";
    case HF_LOG_UNUSUAL:
        return "<4>";
    case HF_LOG_BROKEN:
        return "<3>";
    }
    return "";
}

/* sanitize() leaves printable ASCII and \xNN; JSON wants its own spelling of quote and backslash.
 */
static void json_escape(char *out, size_t out_len, const char *text)
{
    size_t used = 0;
    for (; *text != '\0' && used + 3 < out_len; text++) {
        if (*text == '"' || *text == '\\') {
            out[used++] = '\\';
        }
        out[used++] = *text;
    }
    out[used] = '\0';
}

static void format_time(char *out, size_t out_len)
{
    struct timespec now;
    struct tm utc;
    char seconds[32];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out, out_len, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

void hf_log(hf_log_level level, const char *event, const char *fmt, ...)
{
    if (level < state.least) {
        return;
    }
    char raw[SENTENCE_BYTES / 2];
    char sentence[SENTENCE_BYTES];
    char line[2 * LINE_BYTES];
    char when[64];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    hf_str_sanitize(sentence, sizeof sentence, raw);
    format_time(when, sizeof when);
    int n;
    if (state.format == HF_LOG_JSON) {
        char escaped[2 * SENTENCE_BYTES];
        json_escape(escaped, sizeof escaped, sentence);
        n = snprintf(line, sizeof line,
                     "%s{\"time\":\"%s\",\"level\":\"%s\",\"process\":\"%s\",\"event\":\"%s\","
                     "\"message\":\"%s\"}\n",
                     journal_prefix(level), when, level_name(level), state.process, event, escaped);
    } else {
        n = snprintf(line, sizeof line, "%s%s %-7s %s %s: %s\n", journal_prefix(level), when,
                     level_name(level), state.process, event, sentence);
    }
    if (n > 0 && (size_t)n < sizeof line) {
        (void)!write(STDERR_FILENO, line, (size_t)n);
    }
}
