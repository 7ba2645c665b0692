/* Addresses that strangers may have a part in: whatever is accepted must be an address that dialing
 * takes, and be read the same when it is written out. */
#include "proxy/base/dstr.h"
#include "proxy/net/dns.h"
#include "proxy/upstream/named.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void host_is_harmless(struct slice host)
{
    must(host.n > 0 && host.n <= DNS_NAME_MAX);
    for (size_t i = 0; i < host.n; i++) {
        unsigned char c = (unsigned char)host.p[i];
        must(c > ' ' && c < 0x7f && !strchr("/\\@?#%[]{}\"'", c));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct named_address a;
    struct named_address again;
    struct addr path;
    if (named_unix_parse(in, &a)) {
        must(addr_unix(a.unix_path, &path) && a.host.n == 0);
        must(slice_find_slice(in, S("/../")) == SLICE_NPOS);
    }
    if (named_address_parse(in, 80, &a)) {
        host_is_harmless(a.host);
        must(a.port > 0 && a.unix_path.n == 0);
        const struct origin like = {.key = S("key"), .text = S("text")};
        struct origin *o = named_origin_new(&like, &a, S(""));
        must(named_address_parse(o->text, 0, &again));
        must(slice_eq(a.host, again.host) && a.port == again.port);
        origin_unref(o);
    }
    return 0;
}
