"""The language: order of directives, named routes, blocks on one line, imports, and what is said of
rules that never run. Answers are those of Caddy where it has the same words."""

import pytest
from lib.caddis import command

ORDERS = [
    # body of the site, target, answer
    ("respond /a* prefix\n\trespond /a exact\n\trespond /abc longer", "/a", b"exact"),
    ("respond /a* prefix\n\trespond /a exact\n\trespond /abc longer", "/abc", b"longer"),
    ("respond all\n\t@m method GET\n\trespond @m matched", "/", b"matched"),
    # Of two with matchers of which one is no path, the one that is written first.
    ("@m method GET\n\trespond @m named\n\trespond /a path", "/a", b"named"),
    ("respond /a path\n\t@m method GET\n\trespond @m named", "/a", b"path"),
    ("@m {\n\t\tpath /abc\n\t\tmethod GET\n\t}\n\trespond /a* short\n\trespond @m long", "/abc",
     b"long"),
    ("handle {\n\t\trespond rest\n\t}\n\thandle /x* {\n\t\trespond x\n\t}", "/xy", b"x"),
    ("route {\n\t\trespond first\n\t\tredir https://x.test\n\t}", "/", b"first"),
    ("vars a 1\n\tvars /x a 2\n\trespond {vars.a}", "/x", b"2"),
    ("vars a 1\n\tvars /x a 2\n\trespond {vars.a}", "/", b"1"),
    ("invoke say\n\trespond no", "/named", b"named"),
    ("invoke say\n\trespond no", "/", b"again no"),
    ("invoke /named* say\n\trespond /named* behind\n\trespond no", "/named", b"named"),
]

NAMED = """
&(say) {
	@here path /named
	respond @here named
	invoke again
}
&(again) {
	vars said again
	respond / "{vars.said} no"
}
"""


def test_order_of_directives(caddis):
    c = caddis(NAMED + "\n".join(f"http://o{i}.test {{\n\t{body}\n}}"
                                 for i, (body, _, _) in enumerate(ORDERS)))
    wrong = [(body, target, got) for i, (body, target, want) in enumerate(ORDERS)
             if (got := c.get(target, host=f"o{i}.test").body) != want]
    assert not wrong


@pytest.mark.parametrize("options, want", [
    ("", (302, b"")),
    ("order respond first", (200, b"early")),
    ("order respond before redir", (200, b"early")),
    ("order redir last", (200, b"early")),
    ("order redir after respond", (200, b"early")),
    ("order respond first\norder redir first", (302, b"")),
    ("order redir last\norder respond last", (302, b"")),
])
def test_global_order(caddis, options, want):
    c = caddis("http://localhost {\n\tredir https://x.test\n\trespond early\n}", globals=options)
    answer = c.get()
    assert (answer.status, answer.body) == want


@pytest.mark.parametrize("text", [
    "http://localhost { handle /a { respond A } ; handle { respond B } }",
    "http://localhost < handle /a < respond A > ; handle < respond B > >",
    "http://localhost {\n\thandle /a { respond A }\n\thandle { respond B }\n}",
    "(x) { respond {args[0]} }\nhttp://localhost { handle /a { import x A } ; handle { import x B } }",
    "(x) {\n\thandle /a {\n\t\t{blocks.a}\n\t}\n\thandle {\n\t\t{blocks.b}\n\t}\n}\n"
    "http://localhost {\n\timport x {\n\t\ta {\n\t\t\trespond A\n\t\t}\n\t\tb {\n\t\t\trespond B\n"
    "\t\t}\n\t}\n}",
    "(x) {\n\trespond {args[0]} {args[1:]}\n}\nhttp://localhost {\n\timport x /a A\n"
    "\timport x * B 200\n}",
    "http://localhost, http://other.test,\nhttp://third.test {\n\trespond /a A\n\trespond B\n}",
    "http://localhost\nrespond /a A\nrespond B",
    "http://localhost {\n\trespond /a <<END\n\t\tA\n\t\tEND\n\trespond \\\n\t\tB\n}",
])
def test_spellings_of_one_thing(caddis, text):
    c = caddis(text)
    assert c.get("/a").body == b"A"
    assert c.get("/b").body == b"B"


@pytest.mark.parametrize("body, said", [
    ("respond a\n\trespond b", 'Caddyfile:%d:2: warning: this "respond" is never reached'),
    ("route {\n\t\trespond /a* a\n\t\trespond /abc b\n\t}", 'warning: this "respond" is never'),
    ("@m method GET\n\tredir @m /\n\trespond @m 1", "is never reached"),
    ("route {\n\t\thandle {\n\t\t}\n\t\thandle /x {\n\t\t}\n\t}", 'this "handle" is never reached'),
    ("handle /x {\n\t\trespond x\n\t}\n\thandle {\n\t\tfile_server\n\t}\n\tabort /secret",
     'warning: this "abort" is never reached'),
    ("route {\n\t\thandle {\n\t\t\terror 404\n\t\t}\n\t}\n\trespond 1", 'this "respond" is never reached'),
    ("@h host other.test b.test\n\trespond @h 1",
     'this never matches: no address of the site has the host "other.test"'),
    ("@h {\n\t\thost localhost:80\n\t}\n\trespond @h 1", "a host has no scheme, port, path or"),
    ("@h host [::1]\n\trespond @h 1", "write ::1"),
    ("@s protocol https\n\trespond @s 1", "never matches: the site is served over HTTP only"),
    ("@unused path /x\n\trespond 1", "never used"),
    ("respond {hots}", 'did you mean "host"?'),
])
def test_warnings_of_what_does_nothing(caddis, body, said):
    c = caddis(f"http://localhost {{\n\t{body}\n}}", start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 0
    line = c.file.read_text().splitlines().index("\trespond b") + 1 if "%d" in said else 0
    assert (said % line if line else said) in done.stderr


@pytest.mark.parametrize("body", [
    "reverse_proxy localhost:9 {\n\t\tlb_retries 1\n\t\tlb_retry_match method POST\n\t\tlb_retry_match `path('/x')`\n"
    "\t\tlb_retry_match {\n\t\t\tpath /a\n\t\t\tmethod PUT\n\t\t}\n\t}",
    "map {host} {a} {\n\t\t(.*)\\.test x\n\t\t~(.*) y\n\t}\n\trespond {a}",
    "header {\n\t\tX-A: 1\n\t}",
])
def test_taken_as_caddy_takes_it(caddis, body):
    c = caddis(f"http://localhost {{\n\t{body}\n}}", start=False)
    done = c.command("validate", "--config", c.file)
    assert (done.returncode, done.stderr.count(": warning:")) == (0, 0), done.stderr


def test_a_quoted_matcher_is_one(caddis):
    c = caddis('http://localhost {\n\terror "/a b*" 403\n\trespond `/c` 201\n\trespond 200\n}')
    assert [c.get(p).status for p in ("/a%20bc", "/c", "/d")] == [403, 201, 200]


def test_a_rule_behind_a_rewrite_is_reached(caddis):
    c = caddis("http://localhost {\n\troute {\n\t\trespond /a/* 1\n\t\trewrite * /a{uri}\n"
               "\t\trespond /a/* 2\n\t}\n}")
    assert c.get("/a/x").body == b"1" and c.get("/x").body == b"2"
    assert ": warning:" not in c.command("validate", "--config", c.file).stderr


def test_no_false_alarms(caddis):
    c = caddis("http://localhost {\n\trespond /a a\n\trespond /a/b b\n\trespond /abc* c\n"
               "\t@m {\n\t\tpath /z\n\t\tmethod POST\n\t}\n\trespond @m d\n"
               "\thandle /x {\n\t\trespond e\n\t}\n\thandle {\n\t\theader X-F f\n\t}\n\trespond g\n}\n"
               "(shared) {\n\t@inner host in.test\n\trespond @inner {args[0]}\n}\n"
               "http://out.test, https://*.test {\n\t@in host a.test b.other\n\trespond @in 1\n"
               "\t@plain protocol http\n\tredir @plain https://{host}\n\ttls internal\n"
               "\timport shared 2\n}\nhttp://x.other {\n\timport shared 3\n}",
               start=False)
    done = c.command("validate", "--config", c.file)
    assert (done.returncode, done.stderr.count("warning")) == (0, 0), done.stderr


@pytest.mark.parametrize("text, said", [
    ("&(a) {\n\tinvoke b\n}\n&(b) {\n\tinvoke a\n}\nhttp://x.test {\n\tinvoke a\n}",
     "invokes itself"),
    ("http://x.test {\n\tinvoke nope\n}", "no named route"),
    ("&(a) {\n\ttls internal\n}\nhttp://x.test {\n\tinvoke a\n}", "about a whole site"),
    ("{\n\torder nope first\n}\nhttp://x.test", 'unknown directive "nope"'),
    ("{\n\torder tls first\n}\nhttp://x.test", "not ordered"),
    ("{\n\torder respond before respond\n}\nhttp://x.test", "before itself"),
    ("(a) {\n\timport b\n}\n(b) {\n\timport a\n}\nhttp://x.test {\n\timport a\n}", "imports itself"),
    ("(a) {\n\trespond {args[1]}\n}\nhttp://x.test {\n\timport a 1\n}", "gives 1 argument"),
    ("http://x.test {\n\timport nothing/here.caddy\n}", "No such file"),
    ("http://x.test {\n\trespond \"never closed\n}", "never closed"),
    ("http://x.test {\n\trespond <<END\n\t\tx END\n}", "never ends"),
    ("".join(f"(a{i}) {{\n" + f"\timport a{i - 1}\n" * 10 + "}\n" for i in range(1, 9))
     .replace("import a0", "respond x") + "http://x.test {\n\timport a8\n}", "too many words"),
    ("http://x.test {\n" + "handle {\n" * 1000 + "}\n" * 1000 + "}", "inside one another"),
    ("@m path /x\nhttp://x.test {\n\trespond 1\n}", "inside a site, not beside it"),
])
def test_mistakes_have_a_place(caddis, text, said):
    c = caddis(text, start=False, raw_file=True)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Caddyfile:" in done.stderr


def test_ten_thousand_sites(caddis):
    """They load, and a request finds its own. (How fast is the bench's to say.)"""
    sites = "".join(f"http://s{i}.test {{\n\theader X-Site {i}\n\t@api path /api/*\n"
                    f"\trespond @api api{i}\n\trespond \"{i}.\"\n}}\n" for i in range(10000))
    c = caddis(sites)
    for i in (0, 4999, 9999):
        answer = c.get("/api/x", host=f"s{i}.test")
        assert (answer.body, answer.get("X-Site")) == (b"api%d" % i, str(i))


def test_all_that_is_wrong_at_once(tmp_path):
    """A brace, an import, a quote and an option: each wrong one is said once and hides nothing."""
    (tmp_path / "Caddyfile").write_text("""{
	emial me@example.com
}
a.test {
	handle /x {
		respnd a
	import nothing
	reverse_proxy @in_nothing localhost:1
}
b.test {
	respond "hello
	header X "y"
}
c.test {
	reverse_proxy localhost:1 {
		header_upp Host x
	}
}
""")
    done = command("validate", cwd=tmp_path)
    places = [line.split(": ")[0] for line in done.stderr.splitlines() if ": error: " in line]
    assert places == [f"Caddyfile:{at}" for at in
                      ("2:2", "5:12", "6:3", "7:9", "11:10", "16:3")], done.stderr
    assert done.returncode == 1 and done.stderr.endswith("6 errors\n")
