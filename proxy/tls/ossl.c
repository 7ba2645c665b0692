/* OpenSSL: start, shared policy, error words. See ossl.h. */
#include "proxy/tls/ossl.h"

#include <openssl/err.h>
#include <pthread.h>
#include <string.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif

static pthread_once_t start_once = PTHREAD_ONCE_INIT;

static void start(void)
{
    (void)OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
}

void ossl_init(void)
{
    pthread_once(&start_once, start);
}

const char *ossl_reason(const char *otherwise)
{
    unsigned long code = ERR_peek_error();
    const char *text = !code ? NULL
                       : ERR_GET_LIB(code) == ERR_LIB_SSL &&
                               ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER
                           ? "the other side speaks no TLS (wrong version number)"
                       : ERR_SYSTEM_ERROR(code) ? strerrordesc_np(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
    ERR_clear_error();
    return text ? text : otherwise;
}

bool ossl_err(struct err *err, const char *what)
{
    return err_set(err, "%s: %s", what, ossl_reason("unknown error"));
}

static bool cpu_has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") != 0;
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & (1ul << 3)) != 0; /* HWCAP_AES */
#else
    return false;
#endif
}

bool ossl_common_policy(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_NO_AUTO_CHAIN);
    /* One receive takes the record's head, its body and what follows. */
    SSL_CTX_set_read_ahead(ctx, 1);
    /* The post-quantum hybrid came with OpenSSL 3.5; older ones do not know its name. */
    bool groups = SSL_CTX_set1_groups_list(ctx, "X25519MLKEM768:X25519:P-256:P-384") == 1 ||
                  SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") == 1;
    bool ok = groups && SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1;
    ERR_clear_error();
    return ok;
}

bool ossl_cipher_policy(SSL_CTX *ctx)
{
    static const char aes13[] =
        "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
    static const char chacha13[] =
        "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
    static const char aes12[] =
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
        "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
    static const char chacha12[] =
        "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:"
        "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
    bool aes = cpu_has_aes();
    /* A client that puts ChaCha20 first has no AES of its own: do as it asks. */
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    return SSL_CTX_set_ciphersuites(ctx, aes ? aes13 : chacha13) == 1 &&
           SSL_CTX_set_cipher_list(ctx, aes ? aes12 : chacha12) == 1;
}

size_t ossl_alpn_wire(const struct slice *alpn, size_t count, unsigned char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (alpn[i].n == 0 || alpn[i].n > 255 || alpn[i].n + 1 > cap - n) {
            return 0;
        }
        out[n++] = (unsigned char)alpn[i].n;
        memcpy(out + n, alpn[i].p, alpn[i].n);
        n += alpn[i].n;
    }
    return n;
}
