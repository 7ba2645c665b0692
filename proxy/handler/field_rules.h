/* Rules that change header fields: header, request_header, reverse_proxy's header_up and
 * header_down all read and apply them here.
 *
 *   F v          set, in place of what is there       +F v     add
 *   -F           delete; -F* by beginning, -*F by end, -*F* by what is in it, -* all
 *   F re repl    in the values of F (* for every field) replace what the regular expression finds;
 *                $1, ${name} in repl stand for groups
 *   ?F v         set if it is not there               >F v     set, deferred (responses)
 * Within one list they run in Caddy's order whatever the order they are written in: delete all,
 * add, set, delete, replace, set-if-absent. Framing fields are the codecs', out of reach. */
#ifndef HANDLER_FIELD_RULES_H
#define HANDLER_FIELD_RULES_H

#include "proxy/handler/handler.h"

enum field_rules_side { RULES_REQUEST, RULES_RESPONSE };

struct field_rules {
    struct field_rule *first; /* in the order they run */
    enum field_rules_side side;
    bool deferred;     /* a sign asks for it (-, ?, >), or the caller */
    bool names_origin; /* a value depends on the origin chosen: apply anew for each attempt */
};

/* Adds one rule: tokens[0] is the field with its sign, up to two values follow. signs: those that
 * are allowed here ("+-" or "+-?>"). False after an error in b->diags. */
bool field_rules_parse(struct build *b, struct field_rules *rules,
                       const struct cf_token *tokens, size_t count, const char *signs);

enum rules_result {
    RULES_DONE,
    RULES_NO_MEMORY,
    RULES_LIMIT, /* a regular expression hit its limit: answer 500, pass nothing on */
};

/* Placeholders are filled in from ex; new values live in its arena. A value with control bytes (a
 * placeholder brought them) is left out. */
NODISCARD enum rules_result field_rules_apply(const struct field_rules *rules,
                                              struct fields *fields, struct exchange *ex);

#endif
