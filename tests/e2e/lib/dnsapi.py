"""DNS providers' HTTP interfaces, as far as challenges need them: one server that plays any of
PROVIDERS for one zone. `records` maps names to lists of TXT values; `errors` lists requests that
the provider would not have taken; `refuse` = (status, object) answers everything; `vague`: 200, and not which values a name has. With
`pebble` set the records are those of Pebble's name server."""

import datetime
import hashlib
import hmac
import http.server
import json
import re
import threading
import urllib.parse

PROVIDERS = ("cloudflare", "digitalocean", "hetzner", "desec", "gandi", "route53", "acmedns")


class DnsApi:
    def __init__(self, provider, zone):
        self.provider, self.zone = provider, zone
        self.secret = "s3cret-of-the-test"
        self.records, self.errors = {}, []
        self.refuse = self.pebble = None
        self.vague = False
        self.lock = threading.Lock()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with api.lock:
                    status, answer = api.answer(self, body)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def finish(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def directive(self):
        options = {
            "cloudflare": f"api_token {self.secret}",
            "digitalocean": f"auth_token {self.secret}",
            "hetzner": f"api_token {self.secret}",
            "desec": f"token {self.secret}",
            "gandi": f"bearer_token {self.secret}",
            "route53": f"access_key_id AKID\nsecret_access_key {self.secret}",
            "acmedns": f"username u\npassword {self.secret}\nsubdomain sub\nserver_url {self.url}",
        }[self.provider]
        if self.provider != "acmedns":
            options += f"\napi_url {self.url}"
        return f"dns {self.provider} {{\n{options}\n}}"

    # -- records --

    def values(self, name):
        return self.records.setdefault(name, [])

    def publish(self, name):
        if self.pebble:
            self.pebble.resolver_command("clear-txt", host=name + ".")
            for value in self.values(name):
                self.pebble.resolver_command("set-txt", host=name + ".", value=value)

    def set(self, name, values):
        self.records[name] = list(values)
        self.publish(name)

    def fail(self, status, why):
        self.errors.append(why)
        return status, {"message": why}

    # -- requests --

    def answer(self, request, body):
        if self.refuse:
            return self.refuse
        if self.vague and request.command == "GET" and re.search("rrset|records/", request.path):
            return 200, {}
        url = urllib.parse.urlsplit(request.path)
        query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        given = request.headers.get("Authorization", "")
        expected = {"desec": "Token "}.get(self.provider, "Bearer ") + self.secret
        if self.provider == "route53":
            if not self.signed(request, url, body):
                return self.fail(403, f"bad signature: {request.path}")
        elif self.provider == "acmedns":
            if request.headers.get("X-Api-Key") != self.secret:
                return self.fail(401, "bad key")
        elif given != expected:
            return self.fail(401, "bad token")
        if body and self.provider != "route53":
            if request.headers.get("Content-Type") != "application/json":
                return self.fail(415, "no JSON")
            body = json.loads(body)
        return getattr(self, self.provider)(request.command, url.path, query, body)

    def cloudflare(self, method, path, query, body):
        if path == "/zones":
            found = [{"id": "z1", "name": self.zone}] if query["name"] == self.zone else []
            return 200, {"success": True, "result": found}
        match = re.fullmatch(r"/zones/z1/dns_records(?:/([\w.-]+)~([\w-]+))?", path)
        if not match:
            return self.fail(404, path)
        if method == "GET":
            return 200, {"success": True, "result": [
                {"id": f"{query['name']}~{v}", "content": f'"{v}"'}
                for v in self.values(query["name"])]}
        if method == "POST":
            assert body["type"] == "TXT" and body["ttl"] >= 60
            self.set(body["name"], self.values(body["name"]) + [body["content"].strip('"')])
        elif method == "DELETE":
            self.set(match[1], [v for v in self.values(match[1]) if v != match[2]])
        return 200, {"success": True, "result": {}}

    def digitalocean(self, method, path, query, body):
        if path == f"/domains/{self.zone}":
            return 200, {"domain": {"name": self.zone}}
        match = re.fullmatch(rf"/domains/{self.zone}/records(?:/(\d+))?", path)
        if not match:
            return 404, {"id": "not_found"}
        ids = [(n, v) for n in sorted(self.records) for v in self.records[n]]
        if method == "GET":
            return 200, {"domain_records": [{"id": i + 1, "type": "TXT", "data": v}
                                            for i, (n, v) in enumerate(ids) if n == query["name"]]}
        if method == "POST":
            name = f"{body['name']}.{self.zone}"
            self.set(name, self.values(name) + [body["data"]])
            return 201, {"domain_record": {"id": 1}}
        name, value = ids[int(match[1]) - 1]
        self.set(name, [v for v in self.values(name) if v != value])
        return 204, b""

    def hetzner(self, method, path, query, body):
        if path == f"/zones/{self.zone}":
            return 200, {"zone": {"id": 1, "name": self.zone}}
        match = re.fullmatch(rf"/zones/{self.zone}/rrsets/([\w.-]+)/TXT/actions/(\w+)", path)
        if not match:
            return 404, {"error": {"code": "not_found"}}
        name = f"{match[1]}.{self.zone}"
        changed = [r["value"].strip('"') for r in body["records"]]
        old = self.values(name)
        if match[2] == "add_records":
            self.set(name, old + changed)
        else:
            self.set(name, [v for v in old if v not in changed])
        return 201, {"action": {"status": "running"}}

    def desec(self, method, path, query, body):
        if path == f"/domains/{self.zone}/":
            return 200, {"name": self.zone, "minimum_ttl": 3600}
        match = re.fullmatch(rf"/domains/{self.zone}/rrsets/(?:([\w.-]+)/TXT/)?", path)
        if not match:
            return 404, {"detail": "Not found."}
        if method == "GET":
            values = self.values(f"{match[1]}.{self.zone}")
            return (200, {"records": [f'"{v}"' for v in values], "ttl": 3600}) if values else \
                (404, {"detail": "Not found."})
        [rrset] = body
        if rrset["ttl"] < 3600 or not all(r[0] == r[-1] == '"' for r in rrset["records"]):
            return self.fail(400, "ttl or quotes")
        self.set(f"{rrset['subname']}.{self.zone}", [r.strip('"') for r in rrset["records"]])
        return 200, [rrset]

    def gandi(self, method, path, query, body):
        if path == f"/domains/{self.zone}":
            return 200, {"fqdn": self.zone}
        match = re.fullmatch(rf"/domains/{self.zone}/records/([\w.-]+)/TXT", path)
        if not match:
            return 404, {"message": "not found"}
        name = f"{match[1]}.{self.zone}"
        if method == "GET":
            values = self.values(name)
            return (200, {"rrset_values": [f'"{v}"' for v in values]}) if values else \
                (404, {"message": "not found"})
        if method == "PUT" and body["rrset_ttl"] < 300:
            return self.fail(400, "ttl")
        self.set(name, [] if method == "DELETE" else [v.strip('"') for v in body["rrset_values"]])
        return (204, b"") if method == "DELETE" else (201, {"message": "DNS Record Created"})

    def acmedns(self, method, path, query, body):
        if path != "/update" or body["subdomain"] != "sub" or len(body["txt"]) != 43:
            return self.fail(400, path)
        name = f"_acme-challenge.{self.zone}"
        self.set(name, self.values(name)[-1:] + [body["txt"]])
        return 200, {"txt": body["txt"]}

    # -- Route 53 --

    def signed(self, request, url, body):
        """Signature Version 4, computed anew."""
        date = request.headers["X-Amz-Date"]
        now = datetime.datetime.now(datetime.timezone.utc)
        sent = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ")
        if abs((now - sent.replace(tzinfo=datetime.timezone.utc)).total_seconds()) > 900:
            return False
        query = "&".join(sorted(url.query.split("&"))) if url.query else ""
        canonical = "\n".join([request.command, url.path, query, f"host:{request.headers['Host']}",
                               f"x-amz-date:{date}", "", "host;x-amz-date",
                               hashlib.sha256(body).hexdigest()])
        scope = f"{date[:8]}/us-east-1/route53/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", date, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return request.headers["Authorization"] == (
            f"AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders=host;x-amz-date, "
            f"Signature={signature}")

    def route53(self, method, path, query, body):
        head = '<?xml version="1.0"?><R xmlns="https://route53.amazonaws.com/doc/2013-04-01/">'
        if path == "/2013-04-01/hostedzonesbyname":
            zones = "".join(
                f"<HostedZone><Id>/hostedzone/{i}</Id><Name>{self.zone}.</Name><Config>"
                f"<PrivateZone>{p}</PrivateZone></Config></HostedZone>"
                for i, p in (("ZPRIVATE", "true"), ("ZPUBLIC", "false")))
            return 200, f"{head}<HostedZones>{zones}</HostedZones></R>".encode()
        if not path.startswith("/2013-04-01/hostedzone/ZPUBLIC/rrset"):
            return self.fail(404, path)
        if method == "GET":
            values = self.values(query["name"].rstrip("."))
            records = "".join(f"<ResourceRecord><Value>&quot;{v}&quot;</Value></ResourceRecord>"
                              for v in values)
            return 200, (f"{head}<ResourceRecordSets><ResourceRecordSet><Name>{query['name']}"
                         f"</Name><Type>TXT</Type><TTL>60</TTL><ResourceRecords>{records}"
                         "</ResourceRecords></ResourceRecordSet></ResourceRecordSets></R>"
                         ).encode()
        body = body.decode()
        name = re.search(r"<Name>(.*?)\.</Name>", body)[1]
        values = [v.replace("&quot;", '"').strip('"')
                  for v in re.findall(r"<Value>(.*?)</Value>", body)]
        self.set(name, values if "<Action>UPSERT<" in body else [])
        return 200, f"{head}<ChangeInfo><Status>PENDING</Status></ChangeInfo></R>".encode()
