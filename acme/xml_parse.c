/* In: a document. Out: views of it. */
#include "acme/xml_parse.h"

#define TAG_MAX ((size_t)64)

static bool cut_at(struct slice *rest, const char *open, struct slice tag, struct slice *front)
{
    char mark[TAG_MAX + 4];
    size_t n = strlen(open);
    if (tag.n > TAG_MAX) {
        return false;
    }
    memcpy(mark, open, n);
    memcpy(mark + n, tag.p, tag.n);
    mark[n + tag.n] = '>';
    size_t at = slice_find_slice(*rest, slice_of(mark, n + tag.n + 1));
    if (at == SLICE_NPOS) {
        return false;
    }
    *front = slice_upto(*rest, at);
    *rest = slice_from(*rest, at + n + tag.n + 1);
    return true;
}

bool xml_element(struct slice *rest, const char *tag, struct slice *text)
{
    struct slice front, after = *rest;
    if (!cut_at(&after, "<", slice_str(tag), &front) ||
        !cut_at(&after, "</", slice_str(tag), text)) {
        return false;
    }
    *rest = after;
    return true;
}

static struct slice without(struct slice text, struct slice *quote)
{
    *quote = slice_starts(text, S("&quot;")) ? S("&quot;") : S("\"");
    return slice_starts(text, *quote) ? slice_from(text, quote->n) : (struct slice){NULL, 0};
}

bool xml_quoted_is(struct slice text, struct slice value)
{
    struct slice quote;
    text = without(text, &quote);
    return text.n == value.n + quote.n && slice_starts(text, value) && slice_ends(text, quote);
}
