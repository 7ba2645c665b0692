/* Reading trusted roots. See roots.h. */
#include "proxy/tls/roots.h"

#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proxy/base/slice.h"

/* The system's roots, read once a process (a hundred and fifty certificates, some 20 ms) and again
 * when the file has changed. As a file: OpenSSL's default is a folder that it looks into during
 * handshakes, which must not touch the disk. */
static pthread_mutex_t roots_lock = PTHREAD_MUTEX_INITIALIZER;
static X509_STORE *roots;
static struct stat roots_stat;

const char *roots_system_path(void)
{
    const char *env = getenv("SSL_CERT_FILE");
    return env && *env ? env : "/etc/ssl/certs/ca-certificates.crt";
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

X509_STORE *roots_load(const char *path)
{
    X509_STORE *store = X509_STORE_new();
    if (store && X509_STORE_load_file(store, path) != 1) {
        X509_STORE_free(store);
        store = NULL;
    }
    return store;
}

X509_STORE *roots_system(void)
{
    struct stat now;
    const char *path = roots_system_path();
    pthread_mutex_lock(&roots_lock);
    if (stat(path, &now) == 0 && (!roots || !same_file(&now, &roots_stat))) {
        X509_STORE *fresh = roots_load(path);
        if (fresh) {
            X509_STORE_free(roots);
            roots = fresh;
            roots_stat = now;
        }
    }
    X509_STORE *store = roots && X509_STORE_up_ref(roots) == 1 ? roots : NULL;
    pthread_mutex_unlock(&roots_lock);
    return store;
}
