"""The rules. A check is a function of a tree's root that yields findings; its first line says what
holds, and its `breaks` is a small tree (file name -> text) in which it must find something."""

import re

from tree import code_lines, folders_with_code, includes, source_files

# Which folders a folder may include, besides itself. Steps: (1) base; (2) loop, caddyfile, http;
# (3) net; (4) tls, h1, h2, fcgi, which do not include one another; (5) route, upstream; (6) handler;
# (7) server; (8) cmd. store and acme stand beside them.
STEPS = [
    ["proxy/base"],
    ["proxy/loop", "proxy/caddyfile", "proxy/http"],
    ["proxy/net"],
    ["proxy/tls", "proxy/h1", "proxy/h2", "proxy/fcgi"],
    ["proxy/route", "proxy/upstream"],
    ["proxy/handler"],
    ["proxy/server"],
]
MAY = {"store": {"proxy/base"}, "acme": {"proxy/base", "proxy/loop", "store"}}
for number, step in enumerate(STEPS):
    for name in step:
        MAY[name] = {lower for s in STEPS[:number] for lower in s}
MAY["proxy/tls"].add("store")
MAY["proxy/handler"].add("store")
MAY["proxy/server"].add("store")
MAY["cmd"] = set(MAY) | {"acme", "store"}

# A foreign header, and the only places that may include it.
DOORS = {
    r"ev\.h|ev\+\+\.h": ["proxy/loop/"],
    r"openssl/": ["proxy/tls/", "acme/", "store/seal.c", "store/redis_stream.c",
                  "proxy/base/keyed_hash.c"],
    r"curl/": ["acme/transport.c", "acme/http.c"],
    r"cjson/|cJSON\.h": ["acme/", "store/", "cmd/", "proxy/handler/"],
    r"nghttp2/": ["proxy/h2/"],
    r"ares\w*\.h": ["proxy/net/dns.c", "acme/dns_ask.c"],
    r"hiredis/": ["store/redis_link.c", "store/redis_reply.c"],
    r"yaml\.h": ["cmd/"],
    r"pcre2\.h": ["proxy/route/"],
    r"zlib\.h": ["proxy/loop/log_roll.c", "proxy/handler/encode_coder.c"],
    r"crypt\.h|argon2\.h": ["proxy/handler/password.c"],
    r"zstd\.h|brotli/": ["proxy/handler/encode_coder.c"],
}

BANNED = (
    "strcpy strcat sprintf vsprintf strncpy strncat gets strtok strtok_r atoi atol atoll strtol"
    " strtoul strtoll strtoull sscanf alloca gmtime localtime asctime ctime tmpnam mktemp tempnam"
    " setjmp longjmp system popen rand srand random select"
).split()
LONGEST = 700

CHECKS = []


def check(**breaks):
    def register(function):
        function.breaks = {k.replace("__", "/").replace("_dot_", "."): v for k, v in breaks.items()}
        CHECKS.append(function)
        return function

    return register


def folder_of(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] == "proxy" else parts[0]


@check(proxy__base__a_dot_c='#include "proxy/net/addr.h"\n')
def layers(root):
    """A folder includes only folders below it"""
    for path in source_files(root):
        folder = folder_of(path)
        if folder == "tests":
            continue
        if folder not in MAY:
            yield f"{path}:1: the folder {folder} has no place in the order of tests/lint/rules.py"
            continue
        for line, name, quoted in includes(root, path):
            target = folder_of(name)
            if quoted and target != folder and target not in MAY[folder]:
                yield f"{path}:{line}: {folder} may not include {target}"


@check(proxy__base__a_dot_c='#include "slice.h"\n')
def includes_from_the_root(root):
    """Our own headers are included by their path from the root (tests: or from beside), and exist"""
    for path in source_files(root):
        for line, name, quoted in includes(root, path):
            beside = path.startswith("tests/") and (root / path).parent.joinpath(name).is_file()
            if quoted and not beside and not (root / name).is_file():
                yield f"{path}:{line}: {name} is not a file of this tree"


@check(proxy__h1__a_dot_c="#include <ev.h>\n")
def doors(root):
    """A foreign library is included only behind its door"""
    for path in source_files(root):
        if path.startswith("tests/"):
            continue
        for line, name, quoted in includes(root, path):
            for header, places in DOORS.items():
                if not quoted and re.match(header, name) and not path.startswith(tuple(places)):
                    yield f"{path}:{line}: <{name}> is only for {', '.join(places)}"


@check(acme__a_dot_c="int f(char *a){ return atoi(a); }\n")
def banned(root):
    """No function that cannot be used safely is called"""
    call = re.compile(r"(?<![\w>.])(" + "|".join(BANNED) + r")\s*\(")
    for path in source_files(root):
        if path.startswith("tests/"):
            continue
        for line, text in code_lines(root, path):
            if match := call.search(text):
                yield f"{path}:{line}: {match[1]}()"


@check(cmd__a_dot_c="/* x */\n" * (LONGEST + 1))
def length(root):
    """No file but a test is longer than 700 lines, no line longer than 100 columns"""
    for path in source_files(root):
        lines = (root / path).read_text(errors="replace").split("\n")
        if len(lines) > LONGEST + 1 and not path.startswith("tests/"):
            yield f"{path}:{LONGEST}: {len(lines) - 1} lines"
        for number, text in enumerate(lines, 1):
            if len(text.expandtabs(4)) > 100:
                yield f"{path}:{number}: {len(text.expandtabs(4))} columns"


@check(cmd__a_dot_c="int main(void)\n{\n" + "    ;\n" * 90 + "}\n")
def functions(root):
    """No function is longer than 80 lines, but for flat tables and switches"""
    for path in source_files(root):
        if path.startswith("tests/"):
            continue
        lines = (root / path).read_text(errors="replace").split("\n")
        start = None
        for number, text in enumerate(lines, 1):
            if text == "{":
                start = number
            elif text == "}" and start:
                body = lines[start : number - 1]
                flat = sum(bool(re.match(r"\s*(case\b|default:|\{)", b)) for b in body)
                if len(body) > 80 and flat * 4 < len(body):
                    yield f"{path}:{start}: {len(body)} lines"
                start = None


@check(cmd__a_dot_c="int x;\n")
def opening(root):
    """Every source file, or the header of its name, opens with a comment that says what it is for"""
    for path in source_files(root):
        if path.endswith(".c") and (root / path[:-1]).with_suffix(".h").is_file():
            continue
        first = (root / path).read_text(errors="replace")[:3]
        if not first.startswith(("/*", "//")):
            yield f"{path}:1: no opening comment"


@check(proxy__base__a_dot_c="/* x */\n")
def readme(root):
    """Every folder with code has a README.md of at most 60 lines"""
    for folder in folders_with_code(root):
        path = root / folder / "README.md"
        if not path.is_file():
            yield f"{folder}/README.md:1: missing"
        elif folder != "tests" and len(path.read_text().split("\n")) > 61:
            yield f"{folder}/README.md:61: more than 60 lines"


TOP = {"cmd", "acme", "proxy", "store", "tests", "Caddyfile.example", "CMakeLists.txt", "README.md",
       "LICENSE"}


@check(extra__a_dot_c="/* x */\n")
def top_level(root):
    """Nothing stands at the top level but what has its place there"""
    for entry in root.iterdir():
        if entry.name not in TOP and not entry.name.startswith((".", "build")):
            yield f"{entry.name}:1: not one of {', '.join(sorted(TOP))}"


@check(proxy__h1__a_parse_dot_c="/* x */\n")
def fuzzed(root):
    """What parses bytes from outside (*_parse.c, lexers, JSON) has a unit test and a fuzz target"""
    for path in source_files(root):
        match = re.fullmatch(r"(?:proxy/)?(\w+)/(\w*(?:parse|chunked|lexer|json))\.c", path)
        if not match or path.startswith("tests/"):
            continue
        folder, name = match[1], match[2]
        if not list((root / f"tests/unit/{folder}").glob("*_test.c")):
            yield f"{path}:1: no unit test in tests/unit/{folder}"
        if not list((root / f"tests/fuzz/{folder}").glob("*_fuzz.c")):
            yield f"{path}:1: no fuzz target in tests/fuzz/{folder}"


@check(tests__fuzz__h1__a_fuzz_dot_c="/* x */\n")
def corpora(root):
    """Every fuzz target has a corpus"""
    for path in sorted((root / "tests/fuzz").glob("*/*_fuzz.c")):
        corpus = path.with_suffix(".corpus")
        if not corpus.is_dir() or not any(corpus.iterdir()):
            yield f"{path.relative_to(root)}:1: {corpus.name}/ is missing or empty"


@check(cmd__a_dot_c="int x;  \n\ty;\r\n")
def whitespace(root):
    """No tabs, no carriage returns, no blanks at line ends, one newline at the end"""
    for path in source_files(root):
        text = (root / path).read_text(errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line or line != line.rstrip():
                yield f"{path}:{number}: tab or blank at the end"
        if not text.endswith("\n") or text.endswith("\n\n"):
            yield f"{path}: must end with one newline"
