/* In: a client hello, the challenge table. Out: the certificate that answers it. A look is shared
 * by the handshake and its job; the one that ends last frees it. */
#include "proxy/tls/tls_challenge.h"

#include <stdlib.h>

#include "proxy/tls/sni.h"
#include "store/challenge.h"

struct tls_challenge {
    struct job job;
    struct challenge_table *table; /* borrowed */
    struct task *wake;             /* the handshake's; NULL: it has gone */
    struct dstr pem;               /* written by the job, read when it has ended */
    size_t name_n;
    char name[SNI_NAME_MAX];
    bool found;
    bool ended;
};

bool tls_challenge_hello(SSL *ssl)
{
    /* RFC 7301 section 3.1: the list's length, then each name with its own. */
    static const unsigned char only[] = {0,   11,  10,  'a', 'c', 'm', 'e',
                                         '-', 't', 'l', 's', '/', '1'};
    const unsigned char *ext = NULL;
    size_t n = 0;
    return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &ext,
                                     &n) == 1 &&
           n == sizeof(only) && memcmp(ext, only, n) == 0;
}

static void look_free(struct tls_challenge *c)
{
    if (c->pem.p) {
        explicit_bzero(c->pem.p, c->pem.n);
    }
    dstr_fini(&c->pem);
    free(c);
}

static void work(struct job *j)
{
    struct tls_challenge *c = container_of(j, struct tls_challenge, job);
    c->found = challenge_find_tls_stored(c->table, slice_of(c->name, c->name_n), &c->pem);
}

static void done(struct job *j)
{
    struct tls_challenge *c = container_of(j, struct tls_challenge, job);
    c->ended = true;
    if (c->wake) {
        loop_post(j->loop, c->wake);
    } else {
        look_free(c);
    }
}

/* The jobs end when the workers have ended: no handshake is left that could be told. */
static void dropped(struct job *j)
{
    struct tls_challenge *c = container_of(j, struct tls_challenge, job);
    c->ended = true;
    if (!c->wake) {
        look_free(c);
    }
}

static struct tls_challenge *begin(struct challenge_table *table, struct jobs *jobs,
                                   struct slice server_name, struct loop *l, struct task *wake)
{
    struct tls_challenge *c = calloc(1, sizeof(*c));
    if (!c) {
        return NULL;
    }
    c->job = (struct job){.work = work, .done = done, .dropped = dropped};
    c->table = table;
    c->wake = wake;
    dstr_init(&c->pem, CHALLENGE_PEM_MAX);
    memcpy(c->name, server_name.p, server_name.n);
    c->name_n = server_name.n;
    if (!job_submit(jobs, l, &c->job)) {
        free(c);
        return NULL;
    }
    return c;
}

static enum tls_challenge_answer answer(const struct dstr *pem, struct cert **cert)
{
    *cert = cert_parse(dstr_slice(pem), dstr_slice(pem), NULL);
    return *cert ? TLS_CHALLENGE_KNOWN : TLS_CHALLENGE_UNKNOWN;
}

enum tls_challenge_answer tls_challenge_find(struct certs *certs, struct slice server_name,
                                             struct loop *l, struct task *wake,
                                             struct tls_challenge **look, struct cert **cert)
{
    struct jobs *jobs = NULL;
    struct challenge_table *table = certs_challenges(certs, &jobs);
    if (!table || server_name.n == 0 || server_name.n > SNI_NAME_MAX) {
        return TLS_CHALLENGE_UNKNOWN;
    }
    if (*look) {
        return !(*look)->ended  ? TLS_CHALLENGE_WAIT
               : (*look)->found ? answer(&(*look)->pem, cert)
                                : TLS_CHALLENGE_UNKNOWN;
    }
    struct dstr pem;
    dstr_init(&pem, CHALLENGE_PEM_MAX);
    enum tls_challenge_answer result = TLS_CHALLENGE_UNKNOWN;
    if (challenge_find_tls_local(table, server_name, &pem)) {
        result = answer(&pem, cert);
        explicit_bzero(pem.p, pem.n);
    } else if (jobs) {
        *look = begin(table, jobs, server_name, l, wake);
        result = *look ? TLS_CHALLENGE_WAIT : TLS_CHALLENGE_UNKNOWN;
    }
    dstr_fini(&pem);
    return result;
}

void tls_challenge_forget(struct tls_challenge *look)
{
    if (look && look->ended) {
        look_free(look);
    } else if (look) {
        look->wake = NULL;
    }
}
