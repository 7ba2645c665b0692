/* One reply out of a stream of bytes. See redis_reply.h.
 *
 * hiredis's own reply objects are not used: 0.14 (Debian 12) allocates a list's announced length
 * before it has seen one element. Its reader calls the functions below instead. */
#include "store/redis_reply.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <hiredis/sds.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)16384)

/* What the reader's functions are given along (redisReader.privdata). */
struct bounds {
    size_t items_left;
};

static struct redis_reply *attach(const redisReadTask *task, enum redis_kind kind)
{
    struct redis_reply *r = calloc(1, sizeof(*r));
    if (!r) {
        return NULL;
    }
    r->kind = kind;
    if (task->parent) {
        struct redis_reply *list = task->parent->obj;
        if (task->idx < 0 || (size_t)task->idx >= list->count || list->items[task->idx]) {
            free(r);
            return NULL;
        }
        list->items[task->idx] = r;
    }
    return r;
}

static void *make_text(const redisReadTask *task, char *bytes, size_t n)
{
    char *copy = malloc(n + 1);
    struct redis_reply *r =
        copy ? attach(task, task->type == REDIS_REPLY_ERROR    ? REDIS_FAULT
                            : task->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                               : REDIS_TEXT)
             : NULL;
    if (!r) {
        free(copy);
        return NULL;
    }
    memcpy(copy, bytes, n);
    copy[n] = '\0';
    r->text = copy;
    r->n = n;
    return r;
}

static void *make_list_of(const redisReadTask *task, size_t count)
{
    struct bounds *left = task->privdata;
    int depth = 0;
    for (const redisReadTask *up = task->parent; up; up = up->parent) {
        depth++;
    }
    if (depth >= REDIS_DEPTH_MAX || count > left->items_left) {
        return NULL;
    }
    left->items_left -= count;
    struct redis_reply *r = attach(task, REDIS_LIST);
    if (r && count) {
        r->items = calloc(count, sizeof(struct redis_reply *));
        if (!r->items) {
            r->count = 0;
            return task->parent ? NULL : (free(r), NULL);
        }
        r->count = count;
    }
    return r;
}

static void *make_number(const redisReadTask *task, long long number)
{
    struct redis_reply *r = attach(task, REDIS_NUMBER);
    if (r) {
        r->number = number;
    }
    return r;
}

static void *make_nil(const redisReadTask *task)
{
    return attach(task, REDIS_NIL);
}

static void drop(void *reply)
{
    redis_reply_free(reply);
}

/* The two versions that Debian has differ in a type, and in what RESP 3 brought. */
#if HIREDIS_MAJOR >= 1
static void *make_list(const redisReadTask *task, size_t count)
{
    return make_list_of(task, count);
}

static void *refuse_double(const redisReadTask *task, double value, char *text, size_t n)
{
    (void)task;
    (void)value;
    (void)text;
    (void)n;
    return NULL;
}

static void *refuse_bool(const redisReadTask *task, int value)
{
    (void)task;
    (void)value;
    return NULL;
}
#else
static void *make_list(const redisReadTask *task, int count)
{
    return count < 0 ? NULL : make_list_of(task, (size_t)count);
}
#endif

static redisReplyObjectFunctions functions = {
    .createString = make_text,
    .createArray = make_list,
    .createInteger = make_number,
#if HIREDIS_MAJOR >= 1
    .createDouble = refuse_double,
    .createBool = refuse_bool,
#endif
    .createNil = make_nil,
    .freeObject = drop,
};

void redis_reply_free(struct redis_reply *r)
{
    if (!r) {
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        redis_reply_free(r->items[i]);
    }
    free(r->items);
    if (r->text) {
        explicit_bzero(r->text, r->n);
        free(r->text);
    }
    free(r);
}

bool redis_reply_is(const struct redis_reply *r, struct slice text)
{
    return (r->kind == REDIS_TEXT || r->kind == REDIS_STATUS) &&
           slice_eq(slice_of(r->text, r->n), text);
}

/* True when a reply is there or err is set; false: more bytes are needed. */
static bool take_reply(redisReader *reader, struct redis_reply **out, struct err *err)
{
    void *got = NULL;
    if (redisReaderGetReply(reader, &got) != REDIS_OK) {
        err_set(err, "what answers is no Redis server, or sends more than was asked for (%s)",
                reader->errstr[0] ? reader->errstr : "no reply");
        return true;
    }
    if (!got) {
        return false;
    }
    if (reader->pos != reader->len) {
        redis_reply_free(got);
        err_set(err, "what answers is no Redis server: it goes on behind the end of a reply");
        return true;
    }
    *out = got;
    return true;
}

static struct redis_reply *read_one(redisReader *reader, redis_read_fn *read, void *ctx,
                                    size_t max_bytes, struct err *err)
{
    struct redis_reply *reply = NULL;
    char chunk[CHUNK_BYTES];
    size_t have = 0;
    bool done = false;
    while (!done) {
        ssize_t n = read(ctx, chunk, sizeof(chunk), err);
        if (n <= 0) {
            if (n == 0) {
                err_set(err, "the connection was closed");
            }
            break;
        }
        have += (size_t)n;
        if (have > max_bytes) {
            err_set(err, "a reply is longer than the %zu bytes allowed", max_bytes);
            break;
        }
        if (redisReaderFeed(reader, chunk, (size_t)n) != REDIS_OK) {
            err_set(err, "out of memory for a reply of Redis");
            break;
        }
        done = take_reply(reader, &reply, err);
    }
    explicit_bzero(chunk, sizeof(chunk));
    return reply;
}

struct redis_reply *redis_reply_read(redis_read_fn *read, void *ctx, size_t max_bytes,
                                     size_t max_items, struct err *err)
{
    /* A reader for each reply: one command is under way at a time, so that nothing may be left. */
    redisReader *reader = redisReaderCreateWithFunctions(&functions);
    struct bounds left = {max_items};
    if (!reader) {
        err_set(err, "out of memory for a reply of Redis");
        return NULL;
    }
    reader->privdata = &left;
    struct redis_reply *reply = read_one(reader, read, ctx, max_bytes, err);
    if (reader->buf) {
        explicit_bzero(reader->buf, sdsalloc(reader->buf)); /* perhaps a private key */
    }
    redisReaderFree(reader);
    return reply;
}
