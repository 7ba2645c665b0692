/* Placeholders of the connection a request came on: addresses and TLS. */
#include <arpa/inet.h>

#include "proxy/net/cidr.h"
#include "proxy/net/stream.h"
#include "proxy/route/placeholder.h"

static struct slice whole_text(struct exchange *ex, const struct addr *addr)
{
    char buf[ADDR_TEXT_BYTES];
    return arena_copy(&ex->arena, addr_text(addr, buf));
}

static struct slice host_text(struct exchange *ex, const struct addr *addr)
{
    char buf[ADDR_TEXT_BYTES];
    return arena_copy(&ex->arena, addr_host_text(addr, buf));
}

static struct slice port_text(struct exchange *ex, const struct addr *addr)
{
    return addr_is_unix(addr) ? S("") : arena_printf(&ex->arena, "%u", addr_port(addr));
}

static struct slice remote(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return whole_text(ex, ex->client.peer);
}

static struct slice remote_host(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return host_text(ex, ex->client.peer);
}

static struct slice remote_port(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return port_text(ex, ex->client.peer);
}

static struct slice local(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return whole_text(ex, ex->client.local);
}

static struct slice local_host(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return host_text(ex, ex->client.local);
}

static struct slice local_port(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return port_text(ex, ex->client.local);
}

static struct slice client_ip(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return host_text(ex, ex->client_addr);
}

/* The range of "V4[,V6]" bits that the peer's address lies in: "192.0.2.0/24". */
static struct slice remote_range(struct exchange *ex, struct slice arg)
{
    char text[INET6_ADDRSTRLEN];
    struct slice v6 = arg;
    struct slice bits;
    uint64_t n;
    struct slice ip = host_text(ex, ex->client.peer);
    bool is_v6 = slice_find(ip, ':') != SLICE_NPOS;
    if (addr_is_unix(ex->client.peer)) {
        return ip;
    }
    (void)slice_cut(&v6, ',', &bits);
    bits = is_v6 && v6.p ? v6 : bits;
    struct cidr range;
    if (!slice_u64(bits, is_v6 ? 128 : 32, &n) ||
        !cidr_parse(arena_printf(&ex->arena, "%.*s/%u", SLICE_ARG(ip), (unsigned)n), &range) ||
        !inet_ntop(range.v6 ? AF_INET6 : AF_INET, range.bytes, text, sizeof(text))) {
        return S("");
    }
    return arena_printf(&ex->arena, "%s/%u", text, (unsigned)n);
}

/* ---- TLS; empty on a plain connection -------------------------------------------------------- */

static struct slice tls_version(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->client.tls ? ex->client.tls->version : S("");
}

static struct slice tls_cipher(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->client.tls ? ex->client.tls->cipher : S("");
}

static struct slice tls_proto(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->client.tls ? ex->client.tls->alpn : S("");
}

static struct slice tls_server_name(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->client.tls ? ex->client.tls->server_name : S("");
}

static struct slice tls_resumed(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return !ex->client.tls ? S("") : ex->client.tls->resumed ? S("true") : S("false");
}

static struct slice tls_proto_mutual(struct exchange *ex, struct slice arg)
{
    (void)arg;
    return ex->client.tls ? S("true") : S("");
}

static const struct placeholder rows[] = {
    {.name = "http.request.remote", .value = remote},
    {.name = "http.request.remote.host", .value = remote_host},
    {.name = "http.request.remote.host/", .value = remote_range},
    {.name = "http.request.remote.port", .value = remote_port},
    {.name = "http.request.local", .value = local},
    {.name = "http.request.local.host", .value = local_host},
    {.name = "http.request.local.port", .value = local_port},
    {.name = "http.vars.client_ip", .value = client_ip},
    {.name = "http.request.tls.version", .value = tls_version},
    {.name = "http.request.tls.cipher_suite", .value = tls_cipher},
    {.name = "http.request.tls.proto", .value = tls_proto},
    {.name = "http.request.tls.proto_mutual", .value = tls_proto_mutual},
    {.name = "http.request.tls.server_name", .value = tls_server_name},
    {.name = "http.request.tls.resumed", .value = tls_resumed},
};

const struct placeholder_table placeholders_of_connection = {rows, ARRAY_LEN(rows)};
