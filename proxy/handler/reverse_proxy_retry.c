/* May a request be sent again? What lb_retries, lb_try_duration and lb_retry_match say of it.
 *
 * After a failure: GET, or what one of the lb_retry_match says; while they are asked
 * {rp.is_transport_error} is true. After an answer: only those lb_retry_match that have an
 * expression, which may look at {rp.status_code} and {rp.header.*}, as in Caddy. Either way the
 * body must be there as a whole. */
#include "proxy/handler/reverse_proxy_forward.h"

bool retry_is_left(const struct forward *f)
{
    const struct retry_policy *p = &f->proxy->retry;
    int64_t now = loop_now_ms(f->ex->loop);
    return (p->try_duration_ms || p->retries) &&
           (!p->try_duration_ms || now - f->started_ms < p->try_duration_ms) &&
           (!p->retries || f->retries < p->retries);
}

static bool can_be_sent_again(const struct forward *f)
{
    return !f->upgrade.n && body_rewind(&f->ex->req_body);
}

bool retry_after_failure(const struct forward *f)
{
    const struct retry_policy *p = &f->proxy->retry;
    struct exchange *ex = f->ex;
    bool safe = !p->match_count && ex->req.method == METHOD_GET;
    ex->origin_status = 0;
    ex->origin_fields.count = 0;
    ex->origin_failed = true;
    for (unsigned i = 0; i < p->match_count && !safe; i++) {
        safe = matcher_matches(p->match[i], ex) == MATCH_YES;
    }
    ex->origin_failed = false;
    return safe && can_be_sent_again(f);
}

bool retry_looks_at_answers(const struct forward *f)
{
    const struct retry_policy *p = &f->proxy->retry;
    bool any = false;
    for (unsigned i = 0; i < p->match_count && !any; i++) {
        any = matcher_has_expression(p->match[i]);
    }
    return any && !f->upgrade.n && retry_is_left(f);
}

bool retry_after_answer(const struct forward *f)
{
    const struct retry_policy *p = &f->proxy->retry;
    bool again = false;
    for (unsigned i = 0; i < p->match_count && !again; i++) {
        again = matcher_has_expression(p->match[i]) &&
                matcher_matches(p->match[i], f->ex) == MATCH_YES;
    }
    return again && can_be_sent_again(f);
}
