/* Other servers' configurations: trees, values, and the Caddyfile that comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/import/apache_parse.h"
#include "cmd/import/nginx_parse.h"
#include "cmd/import/traefik_rule.h"
#include "cmd/import/yaml.h"

static struct dstr out;
static unsigned warnings;

static bool convert(import_format *format, const char *text)
{
    struct import i;
    struct err err;
    import_init(&i, S("x"));
    dstr_init(&out, IMPORT_TEXT_MAX);
    bool ok = format(&i, slice_str(text), &err);
    if (ok) {
        import_write(&i, &out);
    }
    warnings = i.warnings;
    import_fini(&i);
    return ok;
}

static void expect(import_format *format, const char *text, const char *caddyfile)
{
    assert_true(convert(format, text));
    assert_string_equal(out.p, caddyfile);
    dstr_fini(&out);
}

static void has(import_format *format, const char *text, const char *part)
{
    assert_true(convert(format, text));
    if (slice_find_slice(dstr_slice(&out), slice_str(part)) == SLICE_NPOS) {
        fail_msg("no \"%s\" in:\n%s", part, out.p);
    }
    dstr_fini(&out);
}

static void refused(import_format *format, const char *text, const char *why)
{
    struct import i;
    struct err err;
    import_init(&i, S("x"));
    assert_false(format(&i, slice_str(text), &err));
    assert_non_null(strstr(err.text, why));
    import_fini(&i);
}

static void test_nginx_words(void **state)
{
    (void)state;
    struct arena a;
    struct nginx_directive *d;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    assert_true(nginx_parse(&a, S("a 'b c' \"d\\\"e\" f\\ g ${h}i; # c\nx{y z;}"), &d, &err));
    assert_int_equal(d->count, 5);
    assert_true(slice_eq(d->words[1], S("b c")));
    assert_true(slice_eq(d->words[2], S("d\"e")));
    assert_true(slice_eq(d->words[3], S("f g")));
    assert_true(slice_eq(d->words[4], S("${h}i")));
    assert_true(d->next->has_block);
    assert_int_equal(d->next->line, 2);
    assert_true(slice_eq(d->next->children->words[1], S("z")));
    arena_fini(&a);
}

static void test_nginx_refused(void **state)
{
    (void)state;
    refused(import_nginx, "server { listen 80", "line 1");
    refused(import_nginx, "server {\nlisten 80;\n", "not closed");
    refused(import_nginx, "a 'b", "quote");
    refused(import_nginx, "}", "without");
    refused(import_nginx, "", "no server block");
}

static void test_nginx_sites(void **state)
{
    (void)state;
    expect(import_nginx, "server { listen 8080; server_name a.example; location / { "
                         "proxy_pass http://localhost:1; proxy_set_header Host $http_host; } }",
           "http://a.example:8080 {\n\treverse_proxy localhost:1 {\n"
           "\t\t# x:1: proxy_set_header Host $http_host: Host passes as it came\n\t}\n}\n");
    /* A path in proxy_pass takes the location's away; without one it stays. */
    has(import_nginx, "server { listen 80; location /a/ { proxy_pass http://h:1/; } }",
        "handle_path /a/* {");
    has(import_nginx, "server { listen 80; location /a/ { proxy_pass http://h:1; } }",
        "handle /a/* {");
    has(import_nginx, "server { listen 80; location /a/ { proxy_pass http://h:1/b/; } }",
        "rewrite /b{uri}");
    has(import_nginx, "server { listen 80; client_max_body_size 50M; return 204; }",
        "max_size 50MiB");
    has(import_nginx, "server { listen 80; location / { proxy_pass https://h; } }",
        "tls_insecure_skip_verify");
    assert_int_equal(warnings, 1);
    has(import_nginx, "server { listen 443 ssl; server_name .b.example; ssl_certificate /c; "
                      "ssl_certificate_key /k; return 301 https://c.example$request_uri; }",
        "b.example, *.b.example {\n\ttls /c /k\n");
    has(import_nginx, "server { listen 80; frobnicate on; return 204; }",
        "WARNING x:1: frobnicate");
}

/* Exact, firm prefixes, regular expressions, prefixes by length. */
static void test_nginx_order(void **state)
{
    (void)state;
    assert_true(convert(import_nginx,
                        "server { listen 80; location /long/ { return 201; } location / { return "
                        "202; } location ~ \\.x$ { return 203; } location = /e { return 204; } "
                        "location ^~ /firm { return 205; } }"));
    const char *order[] = {"204", "205", "203", "201", "202"};
    const char *at = out.p;
    for (size_t k = 0; k < ARRAY_LEN(order); k++) {
        at = strstr(at, order[k]);
        assert_non_null(at);
    }
    dstr_fini(&out);
}

static void test_apache(void **state)
{
    (void)state;
    has(import_apache, "<VirtualHost *:80>\nServerName a.example\nProxyPreserveHost On\n"
                       "ProxyPass /b/ http://h:1/\nProxyPass / http://h:2/\n</VirtualHost>\n",
        "\t\thandle_path /b/* {\n\t\t\treverse_proxy h:1\n\t\t}\n"
        "\t\thandle {\n\t\t\treverse_proxy h:2\n\t\t}\n");
    has(import_apache, "<VirtualHost *:80>\nServerName a.example\nProxyPass / http://h:2/\n"
                       "</VirtualHost>\n", "header_up Host {upstream_hostport}");
    has(import_apache, "<VirtualHost *:443>\nServerName a.example\nHeader \\\n set A \"b c\"\n"
                       "</VirtualHost>\n", "\theader A \"b c\"\n");
    refused(import_apache, "<VirtualHost *:80>\n", "not closed");
    refused(import_apache, "</VirtualHost>\n", "closes nothing");
    refused(import_apache, "A \"b\n", "quote");
}

/* Who may come: nothing answers in front of what refuses. */
static void test_access(void **state)
{
    (void)state;
    has(import_nginx, "server { deny 10.0.0.1; allow 10.0.0.0/8; allow ::1; deny 1.2.3.4; deny all;"
                      " location / { proxy_pass http://h:1; } }",
        "\troute {\n\t\t@m1 remote_ip 10.0.0.1\n\t\trespond @m1 403\n\t\t@m2 {\n"
        "\t\t\tremote_ip 1.2.3.4\n\t\t\tnot remote_ip 10.0.0.0/8 ::1\n\t\t}\n"
        "\t\trespond @m2 403\n\t\t@m3 not remote_ip 10.0.0.0/8 ::1\n\t\trespond @m3 403\n");
    has(import_nginx, "http { auth_jwt x; server { location / { proxy_pass http://h:1; } } }",
        "\t\terror 401\n\t\treverse_proxy h:1");
    has(import_nginx, "server { ssl_verify_client on; location /a { proxy_pass http://h:1; }"
                      " location / { proxy_pass http://h:1; } }",
        "\thandle {\n\t\troute {\n\t\t\t# nobody comes in until this line is what a WARNING"
        " says:\n\t\t\terror 401\n");
    has(import_apache, "<VirtualHost *:80>\nProxyPass / http://h:1/\n<Proxy *>\nRequire local\n"
                       "</Proxy>\n</VirtualHost>\n",
        "error 401 # <Proxy>\n\t\t\treverse_proxy h:1");
    has(import_apache, "<VirtualHost *:80>\nProxyPass / http://h:1/\n</VirtualHost>\n"
                       "<Location /a/>\n<RequireAny>\nRequire ip 10\n</RequireAny>\n"
                       "</Location>\n",
        "\troute {\n\t\t@m1 path /a /a/*\n\t\terror @m1 401\n\t\thandle {");
    has(import_apache, "<VirtualHost *:80>\nDocumentRoot /srv\n<Directory /srv>\nAuthType Basic\n"
                       "</Directory>\n<Directory /srv>\nRequire all granted\n</Directory>\n"
                       "</VirtualHost>\n",
        "error 403 # <Directory /srv>\n\t\t\troot * /srv");
    has(import_apache, "<VirtualHost *:80>\nDocumentRoot /srv\nRewriteCond %{REMOTE_ADDR} !^10\n"
                       "RewriteRule ^/in/ - [L,F]\n</VirtualHost>\n",
        "path_regexp ^/in/\n\t\terror @m1 403\n");
}

/* What is no word in a Caddyfile is quoted, and what is no address is no matcher's. */
static void test_odd_values(void **state)
{
    (void)state;
    has(import_nginx, "server { location \"/a b\" { proxy_pass http://h:1; } }",
        "handle \"/a b*\" {");
    has(import_nginx, "server { allow \"10.1 }\"; deny all; location / { proxy_pass http://h; } }",
        "\t\trespond 403\n");
    has(import_apache, "<VirtualHost *:80>\nHeader set A \"b \\\"c\\\" \\.d\"\n</VirtualHost>\n",
        "header A `b \"c\" \\.d`\n");
    has(import_apache, "<VirtualHost *:80>\nDocumentRoot /srv\n<Directory \"/srv/a b\">\nDeny from"
                       " all\n</Directory>\n</VirtualHost>\n",
        "error \"/a b*\" 403\n");
    has(import_traefik, "traefik.http.routers.r.rule=Host(`a`)\n"
                        "traefik.http.routers.r.middlewares=m\n"
                        "traefik.http.middlewares.m.ipallowlist.sourcerange=10.0.0.1 } b {\n"
                        "traefik.http.services.s.loadbalancer.server.port=80\n",
        "not remote_ip \"10.0.0.1 } b {\"\n");
    assert_int_equal(warnings, 0);
}

static void test_traefik_rules(void **state)
{
    (void)state;
    struct arena a;
    struct rule rule;
    struct err err;
    arena_init(&a, ARENA_NO_MAX);
    assert_true(rule_parse(&a, S("(Host(`a`) || Host(`b`,`c`)) && PathPrefix(`/x`)"), &rule, &err));
    assert_int_equal(rule.count, 2);
    assert_true(slice_eq(rule.terms[0].hosts, S("a")));
    assert_true(slice_eq(rule.terms[1].hosts, S("b, c")));
    assert_true(slice_eq(rule.terms[1].path, S("/x*")));
    assert_true(rule_parse(&a, S("Host(`a`) && !Method(`GET`)"), &rule, &err));
    assert_true(slice_eq(rule.terms[0].lines[0], S("not method GET")));
    assert_false(rule_parse(&a, S("Host(`a`"), &rule, &err));
    assert_false(rule_parse(&a, S("Host(`a`) x"), &rule, &err));
    assert_false(rule_parse(&a, S("Foo(`a`)"), &rule, &err));
    assert_false(rule_parse(&a, S("Host(`a`) && Host(`b`)"), &rule, &err));
    arena_fini(&a);
}

static void test_traefik(void **state)
{
    (void)state;
    has(import_traefik, "services:\n  app:\n    expose: [3000]\n    labels:\n"
                        "      - traefik.http.routers.r.rule=Host(`a.example`)\n",
        "a.example {\n\troute {\n\t\thandle {\n\t\t\treverse_proxy app:3000\n\t\t}\n\t}\n}\n");
    has(import_traefik, "traefik.http.routers.r.rule=Host(`a.example`)\n"
                        "traefik.http.services.s.loadbalancer.server.port=9\n",
        "reverse_proxy ORIGIN:9");
    refused(import_traefik, "services: {}\n", "no traefik");
}

/* What people's files have that a first look at the formats does not show. */
static void test_habits(void **state)
{
    (void)state;
    has(import_nginx, "server { listen 80; server_name a;"
                      " location ~ /\\.(?!well-known) { deny all; } }",
        "@m1 {\n\t\t\tpath_regexp m1 /\\.\n\t\t\tnot path_regexp /\\.(?:well-known)\n");
    has(import_nginx, "server { listen 80; server_name a; location /old { return 302 /new; } }",
        "redir * /new 302");
    has(import_nginx, "server { listen 80; server_name a; location /x { expires 1d;"
                      " add_header Cache-Control public; root /w; } }",
        "header Cache-Control public\n\t\theader +Cache-Control max-age=86400\n");
    has(import_nginx, "server { listen 80; server_name a; location @f { proxy_pass http://b; } }",
        "# WARNING x:1: location @f: only what try_files leads to");
    has(import_nginx, "server { listen 80; server_name a; location /x { auth_basic closed;"
                      " proxy_pass http://b; } }",
        "error 401");
    has(import_apache, "<VirtualHost *:80>\nServerName a\nAlias /off /srv/off\n<Proxy *>\n"
                       "Require all granted\n</Proxy>\nProxyPass /off !\nProxyPass / http://b:1/\n"
                       "</VirtualHost>\n",
        "handle /off* {\n\t\t\turi strip_prefix /off\n\t\t\troot * /srv/off\n");
    has(import_traefik, "traefik.http.routers.r.rule=Host(`a.${ZONE:-example}`)\n"
                        "traefik.http.routers.r.middlewares=m\n"
                        "traefik.http.middlewares.m.basicauth.users=u:$$apr1$$x\n",
        "a.{$ZONE:example} {\n\troute {\n\t\thandle {\n\t\t\t# WARNING x: u: its password");
    has(import_traefik, "traefik.http.routers.r.rule=Host(`a`) && PathPrefix(`/x`)\n"
                        "traefik.http.routers.s.rule=Host(`a`, `b`)\n",
        "\n\nb {\n");
}

static void test_pyserve(void **state)
{
    (void)state;
    expect(import_pyserve, "server:\n  port: 80\n  reverse_proxy:\n"
                           "  - {host: h, path: /a, port: 9, ssl: false}\n",
           "http://:80 {\n\thandle_path /a* {\n\t\treverse_proxy h:9\n\t}\n}\n");
    refused(import_pyserve, "a: [", "line");
    refused(import_pyserve, "a: b", "no `server:`");
}

/* Anchors that multiply are bounded. */
static void test_yaml_bomb(void **state)
{
    (void)state;
    refused(import_pyserve,
            "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
            "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
            "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
            "too large");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nginx_words), cmocka_unit_test(test_nginx_refused),
        cmocka_unit_test(test_nginx_sites), cmocka_unit_test(test_nginx_order),
        cmocka_unit_test(test_access),      cmocka_unit_test(test_apache),
        cmocka_unit_test(test_odd_values),  cmocka_unit_test(test_traefik_rules),
        cmocka_unit_test(test_traefik),
        cmocka_unit_test(test_pyserve),     cmocka_unit_test(test_yaml_bomb),
        cmocka_unit_test(test_habits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
