/* Which addresses may be spoken to without TLS. */
#include <arpa/inet.h>
#include <curl/curl.h>

#include "net/net_internal.h"

#define HOST_LEN 256

/* Scheme and host of a URL, the host without brackets. */
static hf_status split(const char *url, char ret_scheme[16], char ret_host[HOST_LEN], hf_error *err)
{
    char *scheme = NULL;
    char *host = NULL;
    hf_status st = hf_ok();
    CURLU *parts = curl_url();
    if (parts == NULL) {
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    if (curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        hf_failed(hf_str_copy(ret_scheme, 16, scheme)) ||
        hf_failed(hf_str_copy(ret_host, HOST_LEN, host[0] == '[' ? host + 1 : host))) {
        st = hf_fail(err, HF_USAGE, "not a URL with scheme and host");
    } else if (hf_str_has_suffix(ret_host, "]")) {
        ret_host[strlen(ret_host) - 1] = '\0';
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(parts);
    return st;
}

static bool is_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, host, &four) == 1) {
        return (ntohl(four.s_addr) >> 24) == 127;
    }
    if (inet_pton(AF_INET6, host, &six) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&six) != 0;
    }
    return strcmp(host, "localhost") == 0;
}

/* The addresses at which AWS serves metadata: link-local, ECS, EKS. */
static bool is_metadata(const char *host)
{
    static const char *const hosts[] = {"169.254.169.254", "169.254.170.2", "169.254.170.23",
                                        "fd00:ec2::254", "fd00:ec2::23"};
    for (size_t i = 0; i < HF_ARRAY_LEN(hosts); i++) {
        if (strcmp(host, hosts[i]) == 0) {
            return true;
        }
    }
    return false;
}

static hf_status check(const char *url, bool metadata, hf_error *err)
{
    char scheme[16];
    char host[HOST_LEN];
    hf_status st = split(url, scheme, host, err);
    if (hf_failed(st) || strcmp(scheme, "https") == 0) {
        return st;
    }
    if (strcmp(scheme, "http") != 0) {
        return hf_fail(err, HF_USAGE, "neither https nor http");
    }
    if (is_loopback(host) || (metadata && is_metadata(host))) {
        return hf_ok();
    }
    return hf_fail(err, HF_USAGE, "http to another machine is not protected: use https");
}

hf_status hf_net_check_url(const char *url, hf_error *err)
{
    return check(url, false, err);
}

hf_status hf_net_check_metadata_url(const char *url, hf_error *err)
{
    return check(url, true, err);
}
