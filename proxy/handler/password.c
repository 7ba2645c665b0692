/* bcrypt by crypt(3), argon2id by libargon2; see password.h. */
#include "proxy/handler/password.h"

#include <argon2.h>
#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/rand.h"

#define BCRYPT_HASH_BYTES 60u
#define BCRYPT_PASSWORD_MAX 72u
#define ARGON2_SALT_BYTES 16u
#define ARGON2_MEMORY_MAX_KIB (1u << 20)
#define ARGON2_TIME_MAX 100u
#define ARGON2_THREADS_MAX 64u

/* ---- is it one? ------------------------------------------------------------------------------ */

static bool bcrypt_valid(struct slice hash, const char **why)
{
    uint64_t cost;
    bool form = hash.n == BCRYPT_HASH_BYTES && slice_starts(hash, S("$2")) &&
                strchr("aby", hash.p[2]) && hash.p[3] == '$' && hash.p[6] == '$';
    for (size_t i = 7; form && i < hash.n; i++) {
        form = ascii_is_alpha(hash.p[i]) || ascii_is_digit(hash.p[i]) || hash.p[i] == '.' ||
               hash.p[i] == '/';
    }
    if (!form || !slice_u64(slice_of(hash.p + 4, 2), 31, &cost) || cost < BCRYPT_COST_MIN) {
        *why = "it is no bcrypt hash ($2a$14$ and 53 characters)";
        return false;
    }
    if (cost > BCRYPT_COST_MAX) {
        *why = "its cost is above 17: each look at it would take far more than ten seconds";
        return false;
    }
    return true;
}

/* "m=47104,t=1,p=1" */
static bool argon2_cost_valid(struct slice cost)
{
    static const struct {
        struct slice name;
        uint64_t max;
    } parts[] = {{S_INIT("m="), ARGON2_MEMORY_MAX_KIB},
                 {S_INIT("t="), ARGON2_TIME_MAX},
                 {S_INIT("p="), ARGON2_THREADS_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct slice part;
        uint64_t v;
        if (!slice_cut(&cost, ',', &part) || !slice_starts(part, parts[i].name) ||
            !slice_u64(slice_from(part, 2), parts[i].max, &v) || v == 0) {
            return false;
        }
    }
    return cost.p == NULL;
}

static bool argon2_valid(struct slice hash, const char **why)
{
    struct slice rest = slice_from(hash, strlen("$argon2id$v=19$"));
    struct slice cost = S("");
    bool form = slice_starts(hash, S("$argon2id$v=19$")) && hash.n < PASSWORD_HASH_BYTES &&
                slice_cut(&rest, '$', &cost) && slice_find(rest, '$') != SLICE_NPOS;
    if (!form || !argon2_cost_valid(cost)) {
        *why = "it is no argon2id hash ($argon2id$v=19$m=47104,t=1,p=1$salt$hash; at most 1 GiB,"
               " 100 rounds, 64 threads)";
        return false;
    }
    return true;
}

bool password_hash_valid(enum password_kind kind, struct slice hash, const char **why)
{
    return kind == PASSWORD_BCRYPT ? bcrypt_valid(hash, why) : argon2_valid(hash, why);
}

/* ---- does it fit? ---------------------------------------------------------------------------- */

/* crypt() into out; false: it gave none. The 32 KiB that it works in are wiped. */
static bool crypt_into(struct slice password, const char *setting, char out[PASSWORD_HASH_BYTES])
{
    char text[PASSWORD_BYTES_MAX + 1];
    struct crypt_data *data = calloc(1, sizeof(*data));
    if (!data || password.n > PASSWORD_BYTES_MAX) {
        free(data);
        return false;
    }
    memcpy(text, password.p, password.n);
    text[password.n] = '\0';
    const char *made = crypt_rn(text, setting, data, (int)sizeof(*data));
    size_t n = made ? strlen(made) : 0;
    bool ok = n > 0 && n < PASSWORD_HASH_BYTES;
    if (ok) {
        memcpy(out, made, n + 1);
    }
    explicit_bzero(text, sizeof(text));
    explicit_bzero(data, sizeof(*data));
    free(data);
    return ok;
}

static bool same(struct slice a, struct slice b)
{
    unsigned char differs = a.n != b.n;
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        differs |= (unsigned char)(a.p[i] ^ b.p[i]);
    }
    return !differs;
}

bool password_matches(enum password_kind kind, struct slice hash, struct slice password)
{
    if (password.n > PASSWORD_BYTES_MAX || slice_find(password, '\0') != SLICE_NPOS) {
        return false;
    }
    if (kind == PASSWORD_ARGON2ID) {
        return argon2id_verify(hash.p, password.p, password.n) == ARGON2_OK;
    }
    char made[PASSWORD_HASH_BYTES];
    return crypt_into(password, hash.p, made) && same(slice_str(made), hash);
}

/* ---- making ---------------------------------------------------------------------------------- */

bool password_bcrypt(struct slice password, unsigned cost, char out[PASSWORD_HASH_BYTES],
                     struct err *err)
{
    char salt[16];
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (password.n > BCRYPT_PASSWORD_MAX) {
        return err_set(err, "bcrypt looks at the first 72 bytes of a password only, and this one is"
                            " longer; use --algorithm argon2id");
    }
    if (!rand_bytes(salt, sizeof(salt))) {
        return err_errno(err, errno, "getting random bytes");
    }
    if (!crypt_gensalt_rn("$2b$", cost, salt, sizeof(salt), setting, sizeof(setting))) {
        return err_errno(err, errno, "preparing a bcrypt hash of cost %u", cost);
    }
    setting[2] = 'a'; /* what Caddy writes; the same for passwords of this length */
    return crypt_into(password, setting, out) || err_set(err, "bcrypt gave no hash");
}

bool password_argon2id(struct slice password, const struct argon2_cost *cost,
                       char out[PASSWORD_HASH_BYTES], struct err *err)
{
    char salt[ARGON2_SALT_BYTES];
    if (!rand_bytes(salt, sizeof(salt))) {
        return err_errno(err, errno, "getting random bytes");
    }
    int rc = argon2id_hash_encoded(cost->time, cost->memory_kib, cost->threads, password.p,
                                   password.n, salt, sizeof(salt), cost->key_bytes, out,
                                   PASSWORD_HASH_BYTES);
    return rc == ARGON2_OK || err_set(err, "argon2id: %s", argon2_error_message(rc));
}
