"""DNS challenges: providers, propagation, wildcards, what is left behind, and dns-persist-01."""

import os
import re

import pytest
from lib import certs
from lib.bind import Delegated
from lib.caddis import command
from lib.dnsapi import PROVIDERS, DnsApi
from lib.pebble import always
from lib.ports import free_port

NAME = "example.com"
WILD = "*." + NAME


@pytest.fixture
def world(caddis, pebble):
    """world(site, ...): a CA and a caddis that asks it for site's names; returns both. {resolver}
    in the site stands for the CA's name server."""

    def make(site, ca=None, globals="", **options):
        ports = free_port(), free_port()
        p = pebble(*ports, **(ca or {}))
        site = site.replace("{resolver}", f"127.0.0.1:{p.name_server}")
        globals = globals.replace("{resolver}", f"127.0.0.1:{p.name_server}")
        c = caddis(site, http=ports[0], https=ports[1], globals=p.globals + "\n" + globals,
                   **options)
        return p, c

    return make


def site(dns, names=WILD, more=""):
    return (f"{names} {{\n\ttls {{\n\t\t{dns}\n\t\tresolvers {{resolver}}\n\t\t{more}\n\t}}\n"
            "\trespond hello\n}")


def wait(p, c, name=WILD):
    host = name.replace("*", "some")
    return c.wait_certificate(host, timeout=60, cadata=p.roots())


def script(folder, p, body=""):
    """A program for dns exec that puts records into Pebble's own name server, and notes its runs."""
    path = folder / "dns-hook"
    path.write_text(f"""#!/usr/bin/env python3
import json, sys, urllib.request
action, name, value = sys.argv[-3:]
open({str(folder / 'runs')!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
print("hello from the hook")
{body}
command = "set-txt" if action == "present" else "clear-txt"
data = json.dumps({{"host": name, "value": value}}).encode()
urllib.request.urlopen(f"http://127.0.0.1:{p}/" + command, data, timeout=10).read()
""")
    path.chmod(0o755)
    return path


def runs(folder):
    return (folder / "runs").read_text().splitlines() if (folder / "runs").exists() else []


# ---- providers ----

def test_rfc2136_with_a_real_bind(world, bind, eventually):
    """A wildcard and its name at once: two values of one record, each taken away again."""
    b = bind(NAME)
    p, c = world(site(f"dns rfc2136 {b.options()}", f"{NAME}, {WILD}"),
                 ca={"name_server": b.port})
    for name in (NAME, WILD):
        assert certs.names(wait(p, c, name)) == [name]
    assert p.orders == 2
    eventually(lambda: not b.values(f"_acme-challenge.{NAME}"))
    eventually(lambda: not list((c.store / "caddis/dns").glob("*")))


def test_rfc2136_signed_with_sha512_behind_a_cname(world, bind, eventually):
    b = bind(NAME, algorithm="hmac-sha512",
             records=["_acme-challenge.site CNAME answers.elsewhere"])
    p, c = world(site(f"dns rfc2136 {b.options()}", f"*.site.{NAME}"), ca={"name_server": b.port})
    wait(p, c, f"*.site.{NAME}")
    c.wait_log(f'"record":"answers.elsewhere.{NAME}"')


def test_the_zones_own_name_servers(world, folder, cleanup, eventually):
    """Without `resolvers`: a CNAME leads into a delegated child zone; its servers are found by way
    of the system's resolver, and the CA is told when the one that lags has the value, too."""
    d = Delegated(folder, f"127.{20 + os.getpid() % 200}.{os.getpid() // 200 % 250}", NAME,
                  f"acme.{NAME}", [f"_acme-challenge.site CNAME answers.acme.{NAME}."])
    cleanup.add(d.finish)
    record = f"answers.acme.{NAME}"
    p, c = world(f"*.site.{NAME} {{\n\ttls {{\n\t\tdns rfc2136 {d.first.options()}\n\t}}\n"
                 "\trespond hello\n}", ca={"name_server": f"{d.resolver.host}:53"},
                 start=False, wrap=d.wrap)
    seen, lagged = [], []

    def rule(request):
        if request.kind == "challenge" and not seen:
            seen.append((d.first.values(record), d.second.values(record)))

    p.mediator.rules.append(rule)
    c.start()
    eventually(lambda: d.first.values(record), timeout=60)
    lagged.append(not d.second.values(record))
    wait(p, c, f"*.site.{NAME}")
    assert lagged == [True], "the second one did not lag: nothing was tested"
    assert seen[0][0] and seen[0][0] == seen[0][1]
    assert f'"record":"{record}"' in c.log() and p.orders == 1
    eventually(lambda: not d.first.values(record))


@pytest.mark.parametrize("change, words", [
    ({"key": "d3JvbmcgbG9uZyBlbm91Z2gga2V5IGZvciBhbGw="}, "BADSIG"),
    ({"key_name": "unknown"}, "BADKEY"),
])
def test_rfc2136_says_what_is_wrong_with_the_key(world, bind, change, words):
    b = bind(NAME)
    p, c = world(site(f"dns rfc2136 {b.options(**change)}"), ca={"name_server": b.port})
    c.wait_log(words, timeout=40)
    assert p.orders == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_provider(world, cleanup, eventually, provider):
    """Against a server that speaks the provider's interface; what was there before stays."""
    api = DnsApi(provider, NAME)
    cleanup.add(api.finish)
    api.records = {f"_acme-challenge.{NAME}": ["kept"]}
    p, c = world(site(api.directive), start=False)
    api.pebble = p
    c.start()
    assert certs.names(wait(p, c)) == [WILD]
    assert not api.errors, api.errors
    if provider != "acmedns":  # it keeps the last values by itself
        eventually(lambda: api.records[f"_acme-challenge.{NAME}"] == ["kept"])
    assert api.secret not in c.log()


def test_provider_that_refuses_is_told_and_nothing_is_asked_of_the_ca(world, cleanup):
    api = DnsApi("cloudflare", NAME)
    cleanup.add(api.finish)
    api.refuse = (403, {"success": False, "errors": [{"message": "no such right, says the test"}]})
    p, c = world(site(api.directive))
    c.wait_log("no such right, says the test", timeout=40)
    assert p.mediator.count("challenge") == 0


@pytest.mark.parametrize("provider, words", [
    ("desec", "the answer has no records"),
    ("gandi", "the answer has no rrset_values"),
    ("route53", "no list of records"),
])
def test_what_a_provider_does_not_list_is_not_written_over(world, cleanup, provider, words):
    """These set all values of a name at once: what others put there would be gone."""
    api = DnsApi(provider, NAME)
    cleanup.add(api.finish)
    api.records, api.vague = {f"_acme-challenge.{NAME}": ["kept"]}, True
    p, c = world(site(api.directive))
    c.wait_log(words, timeout=40)
    assert api.records == {f"_acme-challenge.{NAME}": ["kept"]} and not api.errors
    assert p.mediator.count("challenge") == 0


def test_exec(world, folder, eventually):
    p, c = world(WILD + " {\n\ttls {\n\t\tdns exec HOOK extra\n\t\tresolvers {resolver}\n\t}\n}",
                 start=False)
    hook = script(folder, p.dns_management)
    c.file.write_text(c.file.read_text().replace("HOOK", str(hook)))
    c.start()
    wait(p, c)
    eventually(lambda: len(runs(folder)) == 2)
    first, second = (r.split() for r in runs(folder))
    assert first[:3] == ["extra", "present", f"_acme-challenge.{NAME}."]
    assert second == ["extra", "cleanup", *first[2:]]
    assert re.fullmatch(r"[\w-]{43}", first[3])
    c.wait_log("hello from the hook")


def test_a_program_that_fails_is_told_and_its_record_taken_away(world, folder, eventually):
    p, c = world(site("dns exec HOOK"), start=False)
    hook = script(folder, p.dns_management,
                  'if action == "present": sys.exit("no zone, says the hook")')
    c.file.write_text(c.file.read_text().replace("HOOK", str(hook)))
    c.start()
    c.wait_log("no zone, says the hook", timeout=40)
    eventually(lambda: [r.split()[0] for r in runs(folder)] == ["present", "cleanup"])
    assert p.mediator.count("challenge") == 0


def test_a_record_that_is_never_visible(world, folder):
    p, c = world(site("dns exec /bin/true", more="propagation_timeout 3s"))
    c.wait_log("is not visible after 3 s", timeout=60)
    assert p.mediator.count("challenge") == 0


def test_the_look_can_be_left_out(world, folder):
    p, c = world(site("dns exec HOOK", more="propagation_timeout -1\n\t\tpropagation_delay 1s"),
                 start=False)
    hook = script(folder, p.dns_management)
    c.file.write_text(c.file.read_text().replace("HOOK", str(hook))
                      .replace(f"127.0.0.1:{p.name_server}", "127.0.0.1:9"))
    c.start()
    wait(p, c)


def test_what_was_put_is_taken_away_after_a_crash(world, bind, eventually):
    """Killed while the CA validates: the next start finishes the order and tidies up."""
    b = bind(NAME)
    p, c = world(site(f"dns rfc2136 {b.options()}"), ca={"name_server": b.port}, start=False)
    p.mediator.rules.append(always("challenge", "hang"))
    c.start()
    record = f"_acme-challenge.{NAME}"
    eventually(lambda: b.values(record) and p.mediator.seen_count("challenge"), timeout=60)
    c.kill()
    assert b.values(record) and list((c.store / "caddis/dns").glob("*"))
    p.mediator.rules.clear()
    c.start()
    wait(p, c)
    eventually(lambda: not b.values(record))
    assert p.orders == 1


# ---- configuration ----

def check(folder, text):
    (folder / "Caddyfile").write_text(text)
    return command("validate", "--config", folder / "Caddyfile", folder=folder,
                   env={"TOKEN": "t0ken", "EMPTY": ""})


@pytest.mark.parametrize("text", [
    "*.a.example {\n\ttls {\n\t\tdns cloudflare {env.TOKEN}\n\t}\n}",
    "*.a.example < tls < dns cloudflare {env.TOKEN} > >",
    "*.a.example {\n\ttls {\n\t\tdns cloudflare {\n\t\t\tapi_token x\n\t\t\tzone_token y\n\t\t}\n\t}\n}",
    "{\n\tacme_dns hetzner x\n}\n*.a.example",
    "{\n\tdns digitalocean x\n\tacme_dns\n}\n*.a.example",
    "{\n\tdns gandi x\n}\n*.a.example {\n\ttls {\n\t\tdns\n\t}\n}",
    "*.a.example {\n\ttls {\n\t\tissuer acme {\n\t\t\tdns desec {\n\t\t\t\ttoken x\n\t\t\t}\n"
    "\t\t\tdns_ttl 1m\n\t\t\tresolvers 9.9.9.9 [2620:fe::fe]:53\n\t\t}\n\t}\n}",
    "*.a.example {\n\ttls {\n\t\tdns route53 {\n\t\t\taccess_key_id x\n\t\t\tsecret_access_key y\n"
    "\t\t\tmax_retries 3\n\t\t}\n\t\tpropagation_timeout -1\n\t}\n}",
    "*.a.example {\n\ttls {\n\t\tdns persist\n\t}\n}",
    "*.a.example {\n\ttls internal\n}",
    "*.localhost",
    "a.example {\n\ttls {\n\t\tissuer acme {\n\t\t\tdisable_http_challenge\n\t\t}\n\t}\n}",
])
def test_what_is_accepted(folder, text):
    done = check(folder, text)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text, words", [
    ("*.a.example", "dns exec PROGRAM"),
    ("*.a.example", "dns persist"),
    ("*.a.example {\n\ttls {\n\t\tdns cloudflar x\n\t}\n}", "cloudflare, desec"),
    ("*.a.example {\n\ttls {\n\t\tdns cloudflare\n\t}\n}", "cloudflare needs api_token"),
    ("*.a.example {\n\ttls {\n\t\tdns cloudflare a b\n\t}\n}", "one argument only"),
    ("*.a.example {\n\ttls {\n\t\tdns cloudflare {\n\t\t\ttoken x\n\t\t}\n\t}\n}", 'option "token"'),
    ("*.a.example {\n\ttls {\n\t\tdns cloudflare {env.UNSET}\n\t}\n}", "UNSET is not set"),
    ("*.a.example {\n\ttls {\n\t\tdns\n\t}\n}", "names no DNS provider"),
    ("*.a.example {\n\ttls {\n\t\tdns exec true\n\t\tresolvers dns.example\n\t}\n}", "no IP address"),
    ("*.a.example {\n\ttls {\n\t\tdns exec /no/such/program\n\t}\n}",
     "cannot run /no/such/program: No such file"),
    ("*.a.example {\n\ttls {\n\t\tdns exec no-such-program\n\t}\n}", "cannot run no-such-program"),
    ("*.a.example {\n\ttls {\n\t\tdns rfc2136 {\n\t\t\tkey_name k\n\t\t\tkey_alg hmac-md5\n"
     "\t\t\tkey eA==\n\t\t\tserver 1.2.3.4\n\t\t}\n\t}\n}", "hmac-sha256"),
    ("a.example {\n\ttls {\n\t\tissuer acme {\n\t\t\tdisable_http_challenge\n"
     "\t\t\tdisable_tlsalpn_challenge\n\t\t}\n\t}\n}", "all of them are disabled"),
])
def test_what_is_refused(folder, text, words):
    done = check(folder, text)
    assert done.returncode != 0 and words in done.stderr, done.stderr
    assert "Caddyfile:" in done.stderr


def test_a_dns_line_without_effect_is_told(folder):
    done = check(folder, "*.a.example {\n\ttls internal {\n\t\tdns exec true\n\t}\n}")
    assert done.returncode == 0 and "no effect" in done.stderr and "Caddyfile:3:3" in done.stderr


# ---- dns-persist-01 ----

def test_persist(world, eventually):
    """The record is asked for once; nothing is ordered before it is there."""
    p, c = world(site("dns persist"), ca={"caaIdentities": ["ca.test"]})
    c.wait_log("_validation-persist.example.com. TXT", timeout=40)
    assert p.orders == 0
    line = next(n for n in c.log().splitlines() if "_validation-persist" in n and "TXT" in n)
    value = re.search(r'TXT \\"([^"]+)\\"', line)[1]
    assert value.startswith("ca.test; accounturi=https://") and "; policy=wildcard" in value
    p.resolver_command("set-txt", host=f"_validation-persist.{NAME}.", value=value)
    wait(p, c)
    assert p.orders == 1
    assert sum("_validation-persist" in n and "TXT" in n for n in c.log().splitlines()) == 1
