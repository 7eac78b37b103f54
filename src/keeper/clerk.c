/*
 * Exports, read over a connection of their own so that signing goes on. One export at a time: its
 * pages wait in a small ring until the asker reads them; an asker that stops reading loses it.
 */
#include "keeper/keeper_internal.h"

#define READ_PATIENCE_SECONDS 10

static void deadline(struct timespec *when, time_t seconds)
{
    (void)clock_gettime(CLOCK_MONOTONIC, when);
    when->tv_sec += seconds;
}

static hf_msg_export_page *newest_page(hf_clerk *clerk)
{
    return &clerk->pages[(clerk->first + clerk->filled) % HF_CLERK_PAGES];
}

/* With the lock held: sends the oldest page to the READ that waits for it. */
static void serve_read(hf_keeper *keeper)
{
    hf_clerk *clerk = &keeper->clerk;
    if (!clerk->has_pending_read || clerk->peer == NULL) {
        return;
    }
    if (clerk->filled > 0) {
        hf_msg_export_page *page = &clerk->pages[clerk->first];
        hf_frame_init(page, HF_MSG_EXPORT_PAGE, clerk->pending_read);
        page->reason = HF_REASON_OK;
        page->done = 0; /* the page may have ended an earlier export */
        hf_peer_send(keeper, clerk->peer, page);
        clerk->first = (clerk->first + 1) % HF_CLERK_PAGES;
        clerk->filled--;
    } else if (clerk->finished) {
        static const hf_msg_export_page empty;
        hf_msg_export_page *page = newest_page(clerk);
        *page = empty;
        hf_frame_init(page, HF_MSG_EXPORT_PAGE, clerk->pending_read);
        page->reason = clerk->reason;
        page->done = 1;
        hf_peer_send(keeper, clerk->peer, page);
        clerk->abandoned = true;
    } else {
        return;
    }
    clerk->has_pending_read = false;
    (void)pthread_cond_broadcast(&clerk->work);
}

/* With the lock held: the page being filled is complete; waits until there is room for the next. */
static bool turn_page(hf_keeper *keeper)
{
    hf_clerk *clerk = &keeper->clerk;
    struct timespec until;
    clerk->filled++;
    serve_read(keeper);
    deadline(&until, READ_PATIENCE_SECONDS);
    while (clerk->filled == HF_CLERK_PAGES - 1 && !clerk->abandoned && !clerk->stop) {
        if (pthread_cond_timedwait(&clerk->work, &clerk->lock, &until) != 0) {
            clerk->abandoned = true;
        }
    }
    newest_page(clerk)->count = 0;
    return !clerk->abandoned && !clerk->stop;
}

static hf_status take_message(void *context, const hf_message *message)
{
    hf_keeper *keeper = context;
    hf_clerk *clerk = &keeper->clerk;
    hf_status st = hf_ok();
    (void)pthread_mutex_lock(&clerk->lock);
    hf_msg_export_page *page = newest_page(clerk);
    page->messages[page->count++] = *message;
    if (page->count == HF_EXPORT_PAGE && !turn_page(keeper)) {
        st = (hf_status){HF_UNAVAILABLE};
    }
    (void)pthread_mutex_unlock(&clerk->lock);
    return st;
}

static void run_export(hf_keeper *keeper, const hf_export_wanted *wanted)
{
    hf_clerk *clerk = &keeper->clerk;
    hf_error err = {.code = HF_OK};
    hf_store_client *client = keeper->store_clients[HF_LANE_EXPORT];
    hf_status st = client != NULL
                       ? hf_store_client_export(client, wanted->has_pubkey ? wanted->pubkey : NULL,
                                                take_message, keeper, &err)
                       : hf_store_export_sqlite(
                             &keeper->store_config, wanted->has_pubkey ? &wanted->pubkey : NULL,
                             wanted->has_pubkey ? 1 : 0, take_message, keeper, &err);
    if (hf_failed(st)) {
        hf_log(HF_LOG_UNUSUAL, "export_failed", "%s", err.msg);
    }
    (void)pthread_mutex_lock(&clerk->lock);
    if (newest_page(clerk)->count > 0 && !hf_failed(st)) {
        (void)turn_page(keeper);
    }
    clerk->reason = hf_failed(st) ? HF_REASON_STORE_UNAVAILABLE : HF_REASON_OK;
    clerk->finished = true;
    serve_read(keeper);
    struct timespec until;
    deadline(&until, READ_PATIENCE_SECONDS);
    while (!clerk->abandoned && !clerk->stop) { /* the last pages are still to be read */
        if (pthread_cond_timedwait(&clerk->work, &clerk->lock, &until) != 0) {
            break;
        }
    }
    (void)pthread_mutex_unlock(&clerk->lock);
}

static void start_export(hf_keeper *keeper, const hf_export_wanted *wanted)
{
    hf_clerk *clerk = &keeper->clerk;
    static uint64_t last_id;
    clerk->export_id = ++last_id;
    clerk->peer = wanted->peer;
    clerk->abandoned = wanted->peer->is_gone;
    clerk->finished = false;
    clerk->first = 0;
    clerk->filled = 0;
    clerk->has_pending_read = false;
    clerk->pages[0].count = 0;
    hf_peer_send_result(keeper, wanted->peer, wanted->request_id, HF_REASON_OK, clerk->export_id,
                        "");
}

static void *clerk_main(void *context)
{
    hf_keeper *keeper = context;
    hf_clerk *clerk = &keeper->clerk;
    (void)pthread_mutex_lock(&clerk->lock);
    while (!clerk->stop) {
        if (clerk->waiting_count == 0) {
            (void)pthread_cond_wait(&clerk->work, &clerk->lock);
            continue;
        }
        hf_export_wanted wanted = clerk->waiting[0];
        clerk->waiting_count--;
        memmove(clerk->waiting, clerk->waiting + 1, clerk->waiting_count * sizeof wanted);
        start_export(keeper, &wanted);
        (void)pthread_mutex_unlock(&clerk->lock);
        run_export(keeper, &wanted);
        (void)pthread_mutex_lock(&clerk->lock);
        clerk->export_id = 0;
        clerk->peer = NULL;
        hf_peer_unref(keeper, wanted.peer);
    }
    (void)pthread_mutex_unlock(&clerk->lock);
    return NULL;
}

hf_status hf_clerk_init(hf_keeper *keeper)
{
    hf_clerk *clerk = &keeper->clerk;
    pthread_condattr_t attr;
    (void)pthread_mutex_init(&clerk->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&clerk->work, &attr);
    (void)pthread_condattr_destroy(&attr);
    clerk->pages = calloc(HF_CLERK_PAGES, sizeof *clerk->pages);
    if (clerk->pages == NULL || pthread_create(&clerk->thread, NULL, clerk_main, keeper) != 0) {
        return (hf_status){HF_NOMEM};
    }
    return hf_ok();
}

void hf_clerk_stop(hf_keeper *keeper)
{
    hf_clerk *clerk = &keeper->clerk;
    (void)pthread_mutex_lock(&clerk->lock);
    clerk->stop = true;
    (void)pthread_cond_broadcast(&clerk->work);
    (void)pthread_mutex_unlock(&clerk->lock);
    (void)pthread_join(clerk->thread, NULL);
    free(clerk->pages);
}

void hf_clerk_open(hf_keeper *keeper, hf_peer *peer, const hf_msg_pubkey *frame)
{
    hf_clerk *clerk = &keeper->clerk;
    (void)pthread_mutex_lock(&clerk->lock);
    bool fits = clerk->waiting_count < HF_CLERK_WAITING_MAX;
    if (fits) {
        hf_export_wanted *wanted = &clerk->waiting[clerk->waiting_count++];
        wanted->peer = peer;
        wanted->request_id = frame->header.request_id;
        wanted->has_pubkey = frame->has_pubkey != 0;
        memcpy(wanted->pubkey, frame->pubkey, HF_BLS_PUBKEY_BYTES);
        hf_peer_ref(peer);
        (void)pthread_cond_broadcast(&clerk->work);
    }
    (void)pthread_mutex_unlock(&clerk->lock);
    if (!fits) {
        hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_OVERLOADED, 0, "");
    }
}

void hf_clerk_read(hf_keeper *keeper, hf_peer *peer, const hf_msg_export_read *frame)
{
    hf_clerk *clerk = &keeper->clerk;
    (void)pthread_mutex_lock(&clerk->lock);
    bool is_open = clerk->export_id != 0 && clerk->export_id == frame->export_id &&
                   clerk->peer == peer && !clerk->abandoned;
    if (is_open) {
        clerk->has_pending_read = true;
        clerk->pending_read = frame->header.request_id;
        serve_read(keeper);
    }
    (void)pthread_mutex_unlock(&clerk->lock);
    if (!is_open) {
        hf_peer_send_result(keeper, peer, frame->header.request_id, HF_REASON_NOT_FOUND, 0,
                            "no such export is open");
    }
}

void hf_clerk_forget_peer(hf_keeper *keeper, hf_peer *peer)
{
    hf_clerk *clerk = &keeper->clerk;
    (void)pthread_mutex_lock(&clerk->lock);
    if (clerk->peer == peer) {
        clerk->abandoned = true;
        (void)pthread_cond_broadcast(&clerk->work);
    }
    (void)pthread_mutex_unlock(&clerk->lock);
}
