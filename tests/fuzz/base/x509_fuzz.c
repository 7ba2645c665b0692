/* PEM and DER of certificates and keys: what is found lies inside what was given. The input is read
 * as PEM text, and as the DER of a certificate and of a key. */
#include "proxy/base/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct slice part, struct slice whole)
{
    must(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void look(struct slice certificate, struct slice key)
{
    struct x509_facts facts;
    struct x509_name name;
    if (!x509_read(certificate, &facts)) {
        return;
    }
    inside(facts.public_key, certificate);
    inside(facts.alt_names, certificate);
    (void)x509_fits(&facts, key);
    while (x509_next_name(&facts.alt_names, &name)) {
        inside(name.value, certificate);
        must(!name.is_ip || name.value.n == 4 || name.value.n == 16);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    struct slice rest = text;
    struct slice label;
    struct dstr first;
    struct dstr der;
    bool broken = false;
    dstr_init(&first, 1 << 20);
    dstr_init(&der, 1 << 20);
    look(text, text);
    while (pem_next(&rest, &label, &der, &broken)) {
        inside(label, text);
        if (!first.n) {
            dstr_append(&first, dstr_slice(&der));
        }
        look(dstr_slice(&first), dstr_slice(&der));
        dstr_reset(&der);
    }
    dstr_fini(&first);
    dstr_fini(&der);
    return 0;
}
