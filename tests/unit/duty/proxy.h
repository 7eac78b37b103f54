/* A relay between libpq and the server that cuts, swallows or delays when it is told to. */
#ifndef TEST_DUTY_PROXY_H
#define TEST_DUTY_PROXY_H

#include "support.h"

typedef struct proxy proxy;

proxy *proxy_start(const char *url);
void proxy_stop(proxy *px);
/* The URL through the relay. */
void proxy_url(const proxy *px, char out[HF_DUTY_URL_LEN]);
/* How many chunks went to the server, and came from it, so far. */
uint64_t proxy_chunks_up(const proxy *px);
uint64_t proxy_chunks_down(const proxy *px);
/* All connections end when that many more chunks were to go up (down): the chunk is not passed on.
 */
void proxy_cut_up_after(proxy *px, uint64_t chunks);
void proxy_cut_down_after(proxy *px, uint64_t chunks);
/* While silent, nothing is passed on, in either direction, and new connections hang. */
void proxy_silent(proxy *px, bool silent);
#endif
