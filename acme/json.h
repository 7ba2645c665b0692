/* JSON from outside, read with distrust: bounded size and depth, and every field is asked for with
 * the type it must have. A thin layer over cJSON. */
#ifndef ACME_JSON_H
#define ACME_JSON_H

#include <cjson/cJSON.h>

#include "proxy/base/err.h"
#include "proxy/base/slice.h"

#define JSON_BYTES_MAX ((size_t)1 << 20)
#define JSON_DEPTH_MAX 16

/* The object that text is, wholly; NULL and err when it is too large, too deep, no JSON or no
 * object, or when something follows it. Freed with cJSON_Delete. */
cJSON *json_parse_object(struct slice text, struct err *err);

/* The member, if it is there with that type; the string is borrowed from obj. An absent or wrongly
 * typed string gives a slice with p == NULL, an array or object NULL. obj may be NULL. */
struct slice json_string(const cJSON *obj, const char *key);
const cJSON *json_array(const cJSON *obj, const char *key);
const cJSON *json_object(const cJSON *obj, const char *key);
bool json_true(const cJSON *obj, const char *key);
/* A whole number in [0, max]; false leaves *out alone. */
NODISCARD bool json_integer(const cJSON *obj, const char *key, int64_t max, int64_t *out);
/* An element of an array as a string; p == NULL when it is none. */
struct slice json_element_string(const cJSON *element);

#endif
