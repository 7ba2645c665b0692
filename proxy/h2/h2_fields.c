/* Fields on their way out; see h2_fields.h. */
#include "proxy/h2/h2_fields.h"

void h2_set_nv(nghttp2_nv *nv, struct slice name, struct slice value)
{
    *nv = (nghttp2_nv){(uint8_t *)(uintptr_t)name.p, (uint8_t *)(uintptr_t)value.p, name.n, value.n,
                       NGHTTP2_NV_FLAG_NONE};
}

struct slice h2_put_number(char out[H2_NUMBER_BYTES], uint64_t value)
{
    size_t at = H2_NUMBER_BYTES;
    do {
        out[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value && at);
    return slice_of(out + at, H2_NUMBER_BYTES - at);
}

bool h2_field_is_ours(const struct field *f)
{
    switch ((int)f->id) {
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_UPGRADE:
    case FIELD_CONTENT_LENGTH:
        return true;
    default:
        return false;
    }
}

static bool has_upper(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] >= 'A' && s.p[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

bool h2_put_field(nghttp2_nv *nv, struct arena *a, const struct field *f)
{
    struct slice name = f->name;
    struct slice value = slice_trim(f->value);
    if (!field_name_valid(name) || !field_value_valid(value)) {
        return false;
    }
    if (has_upper(name)) {
        name = arena_lower(a, name);
        if (!name.p) {
            return false;
        }
    }
    h2_set_nv(nv, name, value);
    return true;
}
