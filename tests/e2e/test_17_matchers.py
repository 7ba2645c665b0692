"""Matchers and placeholders, as tables: a definition, requests, and what is expected. One caddis
serves a whole table, a site for each row."""

import os
import time

import pytest

# definition of @m (after the name, or a block), then (hit, target, {fields}, method) for requests
MATCHERS = [
    ("path /a /b*", [(1, "/a"), (0, "/a/"), (1, "/bcd/e"), (1, "/B"), (1, "/%61"), (1, "/x/../a"),
                     (1, "//a")]),
    ("path *.php", [(1, "/x/y.php"), (0, "/x.phps")]),
    ("path */admin/*", [(1, "/x/admin/y"), (0, "/admin")]),
    ("path /u/*/x", [(1, "/u/1/x"), (0, "/u/1/2/x")]),
    ("path /file-[0-9]?", [(1, "/file-7a"), (0, "/file-x7"), (0, "/file-7")]),
    ("path /a%2fb", [(1, "/a%2Fb"), (0, "/a/b"), (0, "/a%2fbc")]),
    ("path /bands/%*/x", [(1, "/bands/AC%2fDC/x"), (0, "/bands/a/b/x")]),
    ("path //x", [(1, "//x"), (0, "/x")]),
    ("path /{query.p}", [(1, "/one?p=one"), (0, "/one?p=two")]),
    ("{\n\t\tpath /a\n\t\tpath /b\n\t}", [(1, "/a"), (1, "/b"), (0, "/c")]),
    ("path_regexp ^/u/(\\d+)$", [(1, "/u/12"), (0, "/u/x")]),
    ("path_regexp id /u/(?P<num>\\d+)", [(1, "/v/u/12/y")]),
    ("method GET put", [(1, "/"), (1, "/", {}, "PUT"), (0, "/", {}, "POST")]),
    ("host other.test *.test", [(1, "/")]),
    ("host {header.X-Host}", [(1, "/", {"X-Host": "{host}"}), (0, "/", {"X-Host": "b.test"})]),
    ("header X-A", [(1, "/", {"X-A": ""}), (0, "/")]),
    ("header X-A one", [(1, "/", {"x-a": "one"}), (0, "/", {"X-A": "One"}), (0, "/")]),
    ("header X-A on*", [(1, "/", {"X-A": "one"}), (0, "/", {"X-A": "bone"})]),
    ("header X-A *ne", [(1, "/", {"X-A": "one"}), (0, "/", {"X-A": "oner"})]),
    ("header X-A *n*", [(1, "/", {"X-A": "one"}), (0, "/", {"X-A": "two"})]),
    ("header !X-A", [(0, "/", {"X-A": "1"}), (1, "/")]),
    ("{\n\t\theader X-A 1\n\t\theader X-A 2\n\t\theader X-B *\n\t}",
     [(1, "/", {"X-A": "2", "X-B": "x"}), (0, "/", {"X-A": "1"}), (0, "/", {"X-B": "1"})]),
    ("header_regexp X-A ^[a-c]+$", [(1, "/", {"X-A": "abc"}), (0, "/", {"X-A": "abcd"}), (0, "/")]),
    ("query a=1 a=2 b=*", [(1, "/?a=2&b"), (1, "/?b=x&a=1"), (0, "/?a=2"), (0, "/?a=3&b=1"),
                           (1, "/?%61=1&b=%20")]),
    ("query \"\"", [(1, "/"), (0, "/?x")]),
    ("protocol http", [(1, "/")]),
    ("protocol https", [(0, "/")]),
    ("protocol http/1.1+", [(1, "/")]),
    ("protocol http/2+", [(0, "/")]),
    ("protocol grpc", [(1, "/", {"Content-Type": "application/grpc+proto"}), (0, "/")]),
    ("remote_ip 127.0.0.0/8", [(1, "/")]),
    ("client_ip private_ranges", [(1, "/")]),
    ("remote_ip 192.0.2.0/24 ::1", [(0, "/")]),
    ("not path /a", [(0, "/a"), (1, "/b")]),
    ("not {\n\t\tpath /a\n\t\tmethod PUT\n\t}", [(1, "/a"), (0, "/a", {}, "PUT"), (1, "/b")]),
    ("{\n\t\tnot path /a\n\t\tnot method PUT\n\t}", [(0, "/a"), (0, "/b", {}, "PUT"), (1, "/b")]),
    ("not not path /a", [(1, "/a"), (0, "/b")]),
    ("vars {query.x} 1 2", [(1, "/?x=2"), (0, "/?x=3")]),
    ("vars_regexp {query.x} ^[0-9]$", [(1, "/?x=2"), (0, "/?x=33")]),
    ("tls", [(0, "/")]),
    ("not tls", [(1, "/")]),
    # expressions
    ("`{path} == '/a'`", [(1, "/a"), (0, "/b")]),
    ("expression {method} == \"GET\" && {path}.startsWith(\"/a\")",
     [(1, "/ab"), (0, "/b"), (0, "/a", {}, "PUT")]),
    ("`{method} in ['PUT', 'POST']`", [(0, "/"), (1, "/", {}, "POST")]),
    ("`!path('/a*', '/b')`", [(0, "/abc"), (1, "/c")]),
    ("`header({'X-A': ['1', '2'], 'X-B': '*'})`",
     [(1, "/", {"X-A": "2", "X-B": ""}), (0, "/", {"X-A": "2"})]),
    ("`query({'a': 'b'}) || {query.n} > 5`", [(1, "/?a=b"), (1, "/?n=10"), (0, "/?n=5")]),
    ("`int({query.n}) % 2 == 1 ? path('/odd') : path('/even')`",
     [(1, "/odd?n=3"), (1, "/even?n=2"), (0, "/odd?n=2")]),
    ("`path_regexp('^/u/[0-9]+$') && remote_ip('127.0.0.1')`", [(1, "/u/1"), (0, "/u/x")]),
    ("`{path}.matches('^/[a-c]$') && size({path}) == 2`", [(1, "/a"), (0, "/d")]),
    ("`['/a', '/b'].exists(p, {path}.startsWith(p))`", [(1, "/bb"), (0, "/c")]),
    ("`{'a': '/one', 'b': '/two'}[{query.k}] == {path}`",
     [(1, "/two?k=b"), (0, "/one?k=b"), (None, "/x?k=c")]),
    ("`({path} + '/x').endsWith('a/x') && host('*.test')`", [(1, "/a"), (0, "/b")]),
    ("`{query.x} == null`", [(1, "/"), (0, "/?x=1")]),
    ("`false && {path} > 1 || true`", [(1, "/")]),
    ("`{path} > 1`", [(None, "/")]),
]

PLACEHOLDERS = [
    ("{host}|{hostport}|{port}|{labels.0}|{labels.1}|{labels.9}", "{host}|{host}||test|{n}|"),
    ("{method}|{scheme}|{http.request.proto}|{http.request.proto_name}", "GET|http|HTTP/1.1|HTTP/1.1"),
    ("{uri}|{path}|{%path}|{%uri}", "/d/a%20b.tar.gz?q=1&q=2+x&r|/d/a b.tar.gz|"
     "%2Fd%2Fa+b.tar.gz|%2Fd%2Fa%2520b.tar.gz%3Fq%3D1%26q%3D2%2Bx%26r"),
    ("{dir}|{file}|{file.base}|{file.ext}|{path.0}|{path.1}|{path.2}",
     "/d/|a b.tar.gz|a b.tar|.gz|d|a b.tar.gz|"),
    ("{query}|{?query}|{%query}|{query.q}|{query.r}|{query.none}",
     "q=1&q=2+x&r|?q=1&q=2+x&r|q%3D1%26q%3D2%2Bx%26r|1,2 x||"),
    ("{orig_method}|{orig_uri}|{orig_path}|{orig_dir}|{orig_file}|{orig_query}|{orig_?query}",
     "GET|/d/a%20b.tar.gz?q=1&q=2+x&r|/d/a b.tar.gz|/d/|a b.tar.gz|q=1&q=2+x&r|?q=1&q=2+x&r"),
    ("{header.X-Two}|{header.none}|{cookie.b}|{cookie.none}", "1,2||two|"),
    ("{remote_host}|{client_ip}|{http.request.remote.host/24}|{http.request.local.host}",
     "127.0.0.1|127.0.0.1|127.0.0.0/24|127.0.0.1"),
    ("{http.request.local.port}", "{http}"),
    ("{env.TESTED}|{env.NONE}|{$TESTED}|{$NONE:default}", "in the env||in the env|default"),
    ("{system.os}|{system.slash}|{http.shutting_down}|{tls_version}", "linux|/|false|"),
    ("{vars.none}|{re.none.1}|{err.status_code}|{file_match.relative}", "|||"),
    ("\\{host}|{ host }|{}|{\"a\": {\"b\": 1}}", "{host}|{ host }|{}|{\"a\": {\"b\": 1}}"),
    ("{nonsense}", "{nonsense}"),
]


def sites(rows):
    return "\n".join(f"http://m{i}.test {{\n\t{body}\n}}" for i, body in enumerate(rows))


def test_matchers(caddis):
    c = caddis(sites(f"@m {definition}\n\trespond @m yes\n\trespond no"
                     for definition, _ in MATCHERS))
    wrong = []
    with c.connect() as connection:
        for i, (definition, requests) in enumerate(MATCHERS):
            for hit, target, *more in requests:
                fields = {n: v.replace("{host}", f"m{i}.test")
                          for n, v in (more[0] if more else {}).items()}
                method = more[1] if len(more) > 1 else "GET"
                got = connection.request(method, target, fields, host=f"m{i}.test")
                want = {1: (200, b"yes"), 0: (200, b"no"), None: (500, None)}[hit]
                if got.status != want[0] or want[1] not in (None, got.body):
                    wrong.append((definition, method, target, fields, got.status, got.body))
    assert not wrong


def test_placeholders(caddis):
    quoted = [text.replace("\"", "\\\"") for text, _ in PLACEHOLDERS]
    c = caddis(sites(f"respond \"{text}\"" for text in quoted), env={"TESTED": "in the env"})
    wrong = []
    fields = [("X-Two", "1"), ("X-Two", "2"), ("Cookie", "a=1; b=two")]
    for i, (text, want) in enumerate(PLACEHOLDERS):
        host = f"m{i}.test"
        got = c.get("/d/a%20b.tar.gz?q=1&q=2+x&r", host=host, fields=fields).body.decode()
        want = (want.replace("{host}", host, 2 if want.startswith("{host}|{host}|") else 0)
                .replace("{n}", f"m{i}").replace("{http}", str(c.http)))
        if got != want:
            wrong.append((text, got, want))
    assert not wrong


def test_regexp_groups_become_placeholders(caddis):
    c = caddis("http://localhost {\n"
               "\t@id path_regexp /u/(?P<num>\\d+)/(\\w+)\n"
               "\trespond @id \"{re.id.1} {re.id.num} {re.id.2} {re.1} {re.id.9}|\"\n"
               "\t@h header_regexp who X-Who (\\w+)@(\\w+)\n"
               "\trespond @h \"{re.who.2}\"\n}")
    assert c.get("/u/12/name").body == b"12 12 name 12 |"
    assert c.get("/", fields=[("X-Who", "me@home")]).body == b"home"


def test_a_regexp_that_takes_too_long_denies(caddis):
    c = caddis("http://localhost {\n\t@bad header_regexp X-A ^(a|aa)+$\n\trespond @bad no 403\n"
               "\trespond yes\n}")
    got = c.get("/", fields=[("X-A", "a" * 6000 + "!")])
    assert got.status in (500, 200)  # 200 only where the engine could tell that it is no match
    assert got.status == 500 or got.body == b"yes"


def file_matcher(definition, root):
    return f"@m {{\n\t\tfile {definition} {{\n\t\t\troot {root}\n\t\t}}\n\t}}"


def test_file_matcher(caddis, tmp_path):
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "big.txt").write_text("bigger")
    (root / "dir/index.html").write_text("i")
    (root / "x*y.txt").write_text("star")
    (root / "app.php").write_text("p")
    (tmp_path / "secret.txt").write_text("s")
    os.utime(root / "a.txt", (1, 1))
    say = '\n\trespond @m "{file_match.relative} {file_match.type} {file_match.remainder}"' \
          "\n\trespond no"
    rows = [
        (f"@m file {{\n\t\troot {root}\n\t}}", [
            ("/a.txt", "/a.txt file "), ("/none", None), ("/dir", None), ("/dir/", "/dir/ directory "),
            ("/../secret.txt", None), ("/%2e%2e/secret.txt", None), ("/a.txt%00", None),
            ("/x%2ay.txt", "/x*y.txt file "), ("/*.txt", None)]),
        (f"@m file {{\n\t\troot {root}\n\t\ttry_files {{path}} {{path}}/index.html /a.txt\n\t}}", [
            ("/big.txt", "/big.txt file "), ("/dir", "/dir/index.html file "),
            ("/none", "/a.txt file ")]),
        (f"@m file {{\n\t\troot {root}\n\t\ttry_files {{path}} =410\n\t}}", [
            ("/a.txt", "/a.txt file "), ("/none", 410)]),
        (f"@m file a.txt big.txt {{\n\t\troot {root}\n\t\ttry_policy largest_size\n\t}}", [
            ("/", "/big.txt file ")]),
        (f"@m file a.txt big.txt {{\n\t\troot {root}\n\t\ttry_policy smallest_size\n\t}}", [
            ("/", "/a.txt file ")]),
        (f"@m file a.txt big.txt {{\n\t\troot {root}\n\t\ttry_policy most_recently_modified\n\t}}", [
            ("/", "/big.txt file ")]),
        (f"@m file {{path}} /fallback {{\n\t\troot {root}\n\t\ttry_policy first_exist_fallback\n\t}}",
         [("/none", "/fallback file ")]),
        (f"@m file /b*.txt {{\n\t\troot {root}\n\t}}", [("/", "/big.txt file ")]),
        (f"@m file {{\n\t\troot {root}\n\t\tsplit_path .php\n\t}}", [
            ("/app.php/more/x", "/app.php file /more/x"), ("/app.phpx", None)]),
        (f"@m not file {{\n\t\troot {root}\n\t}}", [("/a.txt", None), ("/none", "  ")]),
        (f"@m `file({{'root': '{root}', 'try_files': [{{path}}, '/dir/']}}) && path('/x', '/a.txt')`",
         [("/a.txt", "/a.txt file "), ("/x", "/dir/ directory "), ("/y", None)]),
    ]
    c = caddis(sites(text + say for text, _ in rows))
    wrong = []
    for i, (text, requests) in enumerate(rows):
        for target, want in requests:
            got = c.get(target, host=f"m{i}.test")
            have = got.status if got.status != 200 else None if got.body == b"no" \
                else got.body.decode()
            if have != want:
                wrong.append((text, target, have))
    assert not wrong


def test_file_matcher_in_handle_errors_asks_again(caddis, tmp_path):
    (tmp_path / "404.html").write_text("x")
    c = caddis("http://localhost {\n\t@found file {\n\t\troot " + str(tmp_path) +
               "\n\t\ttry_files {path} =404\n\t}\n\trespond @found yes\n"
               "\thandle_errors {\n\t\t@page file /{err.status_code}.html {\n\t\t\troot " +
               str(tmp_path) + "\n\t\t}\n\t\trespond @page \"page {file_match.relative}\"\n"
               "\t\trespond \"no page\"\n\t}\n}")
    answer = c.get("/none")
    assert (answer.status, answer.body) == (404, b"page /404.html")
    assert c.get("/404.html").body == b"yes"


def test_file_matchers_leave_the_loop_free(caddis, tmp_path):
    """A FIFO's stat does not block, but many look-ups at once must all be answered."""
    (tmp_path / "a").write_text("x")
    c = caddis(f"http://localhost {{\n\t@m file {{\n\t\troot {tmp_path}\n\t}}\n\trespond @m yes\n"
               "\trespond no\n}")
    connections = [c.connect() for _ in range(50)]
    for n, connection in enumerate(connections):
        connection.request("GET", "/a" if n % 2 else "/b", read=False)
    for n, connection in enumerate(connections):
        assert connection.read_response("GET").body == (b"yes" if n % 2 else b"no")
        connection.close()


def test_environment_and_files_at_load(caddis, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    c = caddis(f"http://localhost {{\n\trespond \"<{{file.{secret}}}>\"\n}}")
    assert c.get().body == b"<s3cret>"


@pytest.mark.parametrize("line, complaint", [
    ("@m path a", "begins with / or *"),
    ("@m method {path}", "no method"),
    ("@m host http://x", "no host name"),
    ("@m header X-A\n\t@m header X-B", "defined twice"),
    ("@m {\n\t\theader !X-A\n\t\theader X-A 1\n\t}", "not be there"),
    ("@m protocol gopher", "no protocol"),
    ("@m remote_ip 1.2.3", "no IP address"),
    ("@m path_regexp (", "no regular expression"),
    ("@m query a", "KEY=VALUE"),
    ("@m vars x", "vars NAME VALUE"),
    ("@m file {\n\t\tnope 1\n\t}", "no option"),
    ("@m url_pattern /x", "not in caddis"),
    ("@m pth /x", 'did you mean "path"?'),
    ("@m `{path} ==`", "a value is expected"),
    ("@m `{path}`", "must be true or false"),
    ("@m `path('a')`", "begins with / or *"),
    ("@m `nope('a')`", "no such function"),
    ("@m `" + "(" * 100 + "`", "nests too deeply"),
    ("@m expression 'a' == 'a", "this string never ends"),
    ("@m not", "needs a matcher"),
    ("respond {http.request.body}", "not in caddis"),
    ("respond {file./does/not/exist}", "No such file"),
])
def test_complaints_have_a_place(caddis, line, complaint):
    c = caddis(f"http://localhost {{\n\t{line}\n\trespond @m 1\n}}", start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Caddyfile:" in done.stderr
