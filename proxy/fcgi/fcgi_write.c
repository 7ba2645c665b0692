/* Making FastCGI records; see fcgi_write.h. */
#include "proxy/fcgi/fcgi_write.h"

#define ROLE_RESPONDER 1
#define PARAMS_MAX_BYTES ((size_t)1 << 20)

void fcgi_write_header(struct dstr *out, enum fcgi_type type, size_t n)
{
    must(n <= FCGI_CONTENT_MAX);
    const char header[FCGI_HEADER_BYTES] = {
        1, (char)type, 0, FCGI_REQUEST_ID, (char)(n >> 8), (char)(n & 0xff), 0, 0};
    dstr_append(out, slice_of(header, sizeof(header)));
}

/* One byte below 128, else four with the highest bit set (section 3.4). */
static void put_length(struct dstr *out, size_t n)
{
    if (n >= 128) {
        dstr_byte(out, (char)(0x80 | (n >> 24)));
        dstr_byte(out, (char)((n >> 16) & 0xff));
        dstr_byte(out, (char)((n >> 8) & 0xff));
    }
    dstr_byte(out, (char)(n & 0xff));
}

static void put_param(struct dstr *out, struct slice name, struct slice value)
{
    put_length(out, name.n);
    put_length(out, value.n);
    dstr_append(out, name);
    dstr_append(out, value);
}

/* A stream of records: cut where it must be, ended by an empty one. */
static void put_params(struct dstr *out, struct slice params)
{
    while (params.n) {
        size_t n = params.n < FCGI_CONTENT_MAX ? params.n : FCGI_CONTENT_MAX;
        fcgi_write_header(out, FCGI_PARAMS, n);
        dstr_append(out, slice_upto(params, n));
        params = slice_from(params, n);
    }
    fcgi_write_header(out, FCGI_PARAMS, 0);
}

static bool put_field(struct dstr *params, struct slice line, uint64_t *length)
{
    struct slice value = line;
    struct slice name;
    if (!slice_cut(&value, ':', &name) || !value.p) {
        return false;
    }
    value = slice_trim(value);
    if (slice_eq_case(name, S("transfer-encoding")) || slice_eq_case(name, S("upgrade"))) {
        return false;
    }
    if (slice_eq_case(name, S("content-length"))) {
        put_param(params, S("CONTENT_LENGTH"), value);
        return slice_u64(value, INT64_MAX, length);
    }
    if (!slice_eq_case(name, S("connection"))) {
        put_param(params, name, value);
    }
    return true;
}

bool fcgi_write_head(struct dstr *out, struct slice head, uint64_t *length)
{
    static const char begin[8] = {0, ROLE_RESPONDER, 0, 0, 0, 0, 0, 0}; /* no FCGI_KEEP_CONN */
    struct dstr params;
    struct slice rest = head;
    struct slice line;
    dstr_init(&params, PARAMS_MAX_BYTES);
    *length = 0;
    bool ok = slice_cut(&rest, '\n', &line); /* the request line */
    while (ok && rest.p && slice_cut(&rest, '\n', &line)) {
        line = slice_upto(line, line.n - slice_ends(line, S("\r")));
        if (line.n == 0) {
            break;
        }
        ok = put_field(&params, line, length);
    }
    fcgi_write_header(out, FCGI_BEGIN_REQUEST, sizeof(begin));
    dstr_append(out, slice_of(begin, sizeof(begin)));
    put_params(out, dstr_slice(&params));
    ok = ok && !params.failed && !out->failed;
    dstr_fini(&params);
    return ok;
}
