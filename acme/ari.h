/* What a CA says about when to renew a certificate: renewal information, RFC 9773. Asked for by
 * the manager right after a certificate came and then as the CA says; what was learned, and the
 * moment that was drawn from the suggested window, is kept in the store for restarts and for
 * other instances. */
#ifndef ACME_ARI_H
#define ACME_ARI_H

#include "acme/cert_check.h"
#include "acme/schedule.h"
#include "acme/session.h"
#include "store/store.h"

#define ARI_EXPLANATION_MAX ((size_t)400)

struct ari {
    char cert_id[CERT_ID_MAX]; /* of the certificate it is about; "": nothing is known */
    int64_t start_ms, end_ms;  /* the suggested window; 0: the CA gave none */
    int64_t at_ms;             /* the moment in it that was drawn */
    int64_t ask_at_ms;         /* when to ask again */
    int64_t failures;          /* of asking, in a row */
    char explanation[ARI_EXPLANATION_MAX + 1]; /* the CA's URL for people, or "" */
    /* Renewals of late that were made only because a window said so: a CA that says so of every
     * new certificate is believed more and more slowly. */
    int64_t hurried, hurried_ms;
};

/* Asks the CA about the certificate with that id and updates a: a new moment is drawn (by random)
 * only when the window is another one. False only when stopped. */
NODISCARD bool ari_ask(struct session *s, const char *cert_id, int64_t now_ms, uint64_t random,
                       struct ari *a);

/* When to renew, by the window and the certificate's own dates: the drawn moment (with the
 * restraint of `hurried`) if a is about this certificate, else schedule_renew_at_ms's; but never
 * later than the emergency moment. */
int64_t ari_renew_at_ms(const struct ari *a, const struct cert_facts *facts, unsigned ratio_ppm);
/* Is now a moment at which the CA wants the certificate replaced? Only then it counts no limits. */
bool ari_in_window(const struct ari *a, const struct cert_facts *facts, int64_t now_ms);
/* Was the renewal that now happens asked for by the window alone? */
bool ari_hurries(const struct ari *a, const struct cert_facts *facts, unsigned ratio_ppm,
                 int64_t now_ms);
/* The certificate of a was replaced: forgets it, and counts whether that was hurried. */
void ari_replaced(struct ari *a, bool hurried, int64_t now_ms);

/* caddis/ari/<ca>/<name>.json; empty when there is none or it is damaged. */
void ari_load(struct store *s, struct slice ca, struct slice name, int64_t now_ms, struct ari *out);
/* Best effort: what is lost is asked for again. */
void ari_save(struct store *s, struct slice ca, struct slice name, const struct ari *a);

#endif
