/* Inside the manager: the state that its threads share. manager.c has the public functions, the
 * configuration and the main ACME thread; work.c has what is done for one name.
 *
 * Threads. The main ACME thread reads the store, announces, and signs local names; it never waits
 * for the network. Workers, started when there is something to do, make the attempts with public
 * CAs: a few at a time for one CA, so that a CA that hangs holds up nobody else's names.
 *
 * Locking. `mutex` guards everything here but what is marked otherwise. A managed name that is
 * `busy` belongs to the thread that made it so: only that thread reads or writes its fields marked
 * (busy). Only the main ACME thread changes the list of names and frees them. Callbacks are made
 * under callback_mutex alone, one at a time. */
#ifndef ACME_MANAGER_H
#define ACME_MANAGER_H

#include "acme/ari.h"
#include "acme/attempt.h"
#include "proxy/base/list.h"
#include "proxy/base/map.h"

#define MANAGER_WORKERS_MAX 16
#define MANAGER_PER_CA_MAX 4
#define MANAGER_CAS_MAX 64

/* One account at one CA with what is asked of it, or the local CA. */
struct managed_ca {
    struct list node;
    struct acme_issuer issuer; /* strings owned by arena; constant */
    struct slice store_name;   /* constant */
    struct slice record_name;  /* of its own back-off in the store; constant */
    struct arena arena;
    size_t names;       /* that use it */
    unsigned in_flight; /* attempts under way */
    bool proven;        /* the last attempt got through: several at a time are fine */
    bool recorded;      /* its back-off is in the store */
    int64_t failures;   /* in a row, before there was an order */
    int64_t hold_until_mono_ms;
    char last_error[1024];
    struct session *idle[MANAGER_PER_CA_MAX]; /* sessions kept for the next attempt */
    size_t idle_count;
};

/* One of the issuers of a name. */
struct managed_source {
    struct managed_ca *ca;      /* constant */
    int64_t hold_until_mono_ms; /* not before, for this name there */
};

struct managed {
    struct list node; /* in names or gone_names */
    char *name;       /* constant, owned */
    struct managed_source sources[ACME_ISSUERS_MAX]; /* in the order they are asked */
    size_t source_count;                             /* constant */
    struct managed_source *from; /* the one that is, or was last, at work */
    enum acme_key_type key_type; /* constant, as the next three */
    bool reuse_key;
    bool ask_first;
    unsigned ratio_ppm;
    bool gone;   /* not configured any more */
    bool busy;   /* owned by a thread */
    bool loaded; /* the store was looked at */
    bool tell;   /* the main thread is to report the status again */
    bool ready;
    bool lost;                  /* the store has lost what is served */
    bool by_hand;               /* asked for: an attempt now, whatever renew_at_ms says */
    int64_t renew_at_ms;        /* wall clock; ready only */
    int64_t hold_until_mono_ms; /* not before, wherever */
    char last_error[1024];
    /* (busy), and written with the mutex, so that acme_list can read them: */
    bool has_cert;
    struct cert_facts facts;
    struct managed_ca *cert_ca; /* who signed it; NULL: none */
    struct ari ari;             /* what its CA says of renewing it */
    int64_t ask_mono_ms;        /* when to ask it again */
    bool has_unsaved;        /* (written when busy) a certificate that the store did not take: */
    struct store_pair unsaved;     /* (busy) */
    struct managed_ca *unsaved_ca; /* (busy) */
};

struct acme {
    struct store *store;
    struct challenge_table *challenges;
    struct acme_callbacks callbacks;
    pthread_mutex_t callback_mutex;

    pthread_mutex_t mutex;
    pthread_cond_t main_cond;    /* the main thread's; monotonic */
    pthread_cond_t worker_cond;  /* idle workers' */
    pthread_cond_t ended_cond;   /* acme_stop's; monotonic */
    struct stop stop;
    struct list names; /* struct managed */
    struct list gone_names;
    struct list cas;
    struct pending_config *pending; /* set by acme_configure, taken by the main thread */
    bool wake;                      /* the main thread has something to look at */
    pthread_t main_thread;
    pthread_t workers[MANAGER_WORKERS_MAX];
    unsigned worker_count, idle_workers, live_threads;
    int64_t renew_interval_ms;
    int64_t leaf_lifetime_ms;
    bool root_wanted;
    int64_t root_hold_mono_ms;
    int64_t recheck_mono_ms;
};

/* Milliseconds until an attempt is due for m (0: now). With mutex. */
int64_t managed_attempt_due_ms(const struct managed *m, int64_t now_mono_ms, int64_t now_wall_ms);
/* Milliseconds until something is due for m (0: now), INT64_MAX: nothing. With mutex. */
int64_t managed_due_ms(const struct managed *m, int64_t now_mono_ms, int64_t now_wall_ms);
/* The most urgent name that may be worked on now, by the local CA or by others; NULL: none. With
 * mutex. */
struct managed *managed_pick(struct acme *a, bool local);
/* Does what is due for m: called and returns with mutex, works without it. m is made busy. */
void managed_work(struct acme *a, struct managed *m);
/* Looks at the store for the first time: announces what is good. The same conditions. */
void managed_load(struct acme *a, struct managed *m);
/* Looks whether another process has renewed it. The same conditions. */
void managed_recheck(struct acme *a, struct managed *m);
/* Asks m's CA when to renew (ari.h) and takes the answer; m being busy. Without mutex. */
void managed_ask(struct acme *a, struct managed *m, struct session **session);
/* Takes a certificate as the one that is served. With mutex. */
void managed_adopt(struct managed *m, struct managed_ca *ca, const struct cert_facts *facts,
                   const struct ari *ari);
/* The extra roots and time-outs of an issuer. Borrows from it. */
struct transport_options managed_transport(const struct acme_issuer *issuer);
/* Reports m's status with an activity (NULL: one made from its state). Without mutex. */
void managed_report(struct acme *a, struct managed *m, const char *activity);
void managed_free(struct managed *m);
/* Reads the CA's own back-off from the store. Without mutex; before the CA is used. */
void managed_ca_load(struct acme *a, struct managed_ca *ca);

#endif
