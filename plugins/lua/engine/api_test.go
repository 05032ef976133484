package engine

import (
	"strings"
	"testing"
	"time"

	"mtad/message"
	"mtad/pipeline"
	"mtad/smtp"
)

// use is a binding called as it should be, and as it should not.
type use struct {
	stage string // message
	good  string // an expression, or a statement that ends in ;
	want  string // of the expression as text, or of the verdict
	bad   string
	err   string // of bad
}

// uses has every binding of the API, by its title's name.
var uses = map[string]use{
	"msg.id":         {good: `#msg.id`, want: "13", bad: `msg.id.x.y`, err: "attempt to index"},
	"msg.stage":      {good: `msg.stage`, want: "message", bad: `msg.stages`, err: "did you mean msg.stage?"},
	"msg.time":       {good: `msg.time`, want: "0", bad: `msg.time()`, err: "attempt to call"},
	"msg.client":     {good: `msg.client.helo .. tostring(msg.client.addr)`, want: "mx.good.testnil", bad: `msg.client = {}; return 1`, err: "use a method"},
	"msg.tls":        {good: `msg.tls.version`, want: "TLSv1.3", bad: `msg.tls.version.x.y`, err: "index"},
	"msg.auth":       {good: `msg.auth.user`, want: "ann@good.test", bad: `msg.auth.user.x.y`, err: "index"},
	"msg.sender":     {good: `msg.sender`, want: "ann@good.test", bad: `msg.sender = ""; return 1`, err: "use a method"},
	"msg.params":     {good: `msg.params.size`, want: "0", bad: `msg.params.raw[1].x`, err: "index"},
	"msg.rcpts":      {good: `msg.rcpts[1]`, want: "bob+lists@example.test", bad: `msg.rcpts[1].x.y`, err: "index"},
	"msg.rcpt":       {stage: "deliver", good: `msg.rcpt`, want: "bob+lists@example.test", bad: `msg.rcpt = 1; return 1`, err: "use a method"},
	"msg.detail":     {stage: "deliver", good: `msg.detail`, want: "lists", bad: `msg.detail = 1; return 1`, err: "use a method"},
	"msg.class":      {stage: "deliver", good: `msg.class`, want: "local", bad: `msg.class = 1; return 1`, err: "use a method"},
	"msg.mailbox":    {stage: "deliver", good: `msg.mailbox`, want: "bob@example.test", bad: `msg.mailbox = 1; return 1`, err: "use a method"},
	"msg.folder":     {stage: "deliver", good: `msg.folder`, want: "", bad: `msg.folder = 1; return 1`, err: "use a method"},
	"msg.command":    {stage: "unknown", good: `msg.command`, want: "", bad: `msg.command = 1; return 1`, err: "use a method"},
	"msg.size":       {good: `msg.size > 100`, want: "true", bad: `msg.size.x.y`, err: "index"},
	"msg.subject":    {good: `msg.subject`, want: "Invoice €42", bad: `msg.subject = 1; return 1`, err: "use a method"},
	"msg.from":       {good: `msg.from`, want: "ann@good.test", bad: `msg.from = 1; return 1`, err: "use a method"},
	"msg.score":      {good: `msg.score`, want: "0", bad: `msg.score = 1; return 1`, err: "use a method"},
	"msg:header":     {good: `msg:header("x-a") .. tostring(msg:header("X-None"))`, want: "onenil", bad: `msg:header({})`, err: "string expected"},
	"msg:headers":    {good: `#msg:headers("X-A") .. #msg:headers()`, want: "27", bad: `msg.headers("X-A")`, err: "with a colon"},
	"msg:raw_header": {good: `msg:raw_header("X-A")`, want: "X-A: one\r\n", bad: `msg:raw_header()`, err: "string expected"},
	"msg:addresses":  {good: `msg:addresses("From")[1].name .. msg:addresses("From")[1].domain`, want: "Anngood.test", bad: `msg:addresses(nil)`, err: "string expected"},
	"msg:body":       {good: `msg:body() .. #msg:body(3) .. #msg:body(-5)`, want: "Grüße20", bad: `msg:body("x")`, err: "number expected"},
	"msg:raw_body":   {good: `select(2, msg:raw_body(5))`, want: "false", bad: `msg:raw_body({})`, err: "number expected"},
	"msg:parts":      {good: `msg:parts()[2].filename .. msg:parts()[1].charset`, want: "setup.exeiso-8859-1", bad: `msg.parts()`, err: "with a colon"},
	"msg:part_text":  {good: `msg:part_text(1) .. tostring(msg:part_text(2))`, want: "Grüßenil", bad: `msg:part_text(99)`, err: "no part 99"},
	"msg:part_data":  {good: `msg:part_data(2)`, want: "MZ", bad: `msg:part_data(-1)`, err: "no part -1"},
	"msg:part_size":  {good: `msg:part_size(2)`, want: "2", bad: `msg:part_size(1e300)`, err: "no part"},
	"msg:result":     {good: `tostring(msg:result("spf"))`, want: "nil", bad: `msg:result()`, err: "string expected"},
	"msg:results":    {good: `#msg:results()`, want: "0", bad: `msg.results()`, err: "with a colon"},
	"msg:scores":     {good: `#msg:scores()`, want: "0", bad: `msg.scores()`, err: "with a colon"},
	"msg:tag":        {good: `tostring(msg:tag("none"))`, want: "nil", bad: `msg:tag({})`, err: "string expected"},
	"msg:tags":       {good: `next(msg:tags())`, want: "nil", bad: `msg.tags()`, err: "with a colon"},
	"msg:held":       {good: `tostring((msg:held()))`, want: "nil", bad: `msg.held()`, err: "with a colon"},

	"msg:reject":        {good: `msg:reject("no\r\nway €", 554, "5.2.1");`, want: "reject 554 5.2.1 no way ?", bad: `msg:reject("x", 250)`, err: "class"},
	"msg:tempfail":      {good: `msg:tempfail(("long "):rep(1000));`, want: "tempfail 451 4.7.1 " + strings.TrimSpace(strings.Repeat("long ", 80)), bad: `msg:tempfail("x", 451, "5.7.1")`, err: "not an enhanced status code"},
	"msg:disconnect":    {good: `msg:disconnect("go away");`, want: "disconnect 421 4.7.1 go away", bad: `msg:disconnect()`, err: "string expected"},
	"msg:discard":       {good: `msg:discard();`, want: "discard", bad: `msg.discard()`, err: "with a colon"},
	"msg:done":          {good: `msg:done();`, want: "done", bad: `msg.done({})`, err: "with a colon"},
	"msg:reject_rcpt":   {good: `msg:reject_rcpt("bob+lists@example.test", "full", 552);`, want: "continue; rcpt 1 reject 552 5.7.1 full", bad: `msg:reject_rcpt("a b", "x")`, err: "not an address"},
	"msg:tempfail_rcpt": {good: `msg:tempfail_rcpt("bob+lists@example.test", "later");`, want: "continue; rcpt 1 tempfail 451 4.7.1 later", bad: `msg:tempfail_rcpt("bob+lists@example.test", "x", 550)`, err: "class"},
	"msg:discard_rcpt":  {good: `msg:discard_rcpt("bob+lists@example.test"); msg:discard_rcpt("nobody@x.test");`, want: "continue; rcpt 1 discard", bad: `for i = 1, 2000 do msg:discard_rcpt("bob+lists@example.test") end return 1`, err: "more than 1000 edits"},
	"msg:note":          {good: `msg:note("a\nb");`, want: "continue", bad: `msg:note()`, err: "string expected"},

	"msg:add_score":     {good: `msg:add_score(4, "x", "why");`, want: `continue; add-score x 4.0 "why"`, bad: `msg:add_score("many", "x")`, err: "number expected"},
	"msg:set_tag":       {good: `msg:set_tag("vip") msg:set_tag("a", "b");`, want: "continue; tag vip; tag a=b", bad: `msg:set_tag("x", ("y"):rep(5000))`, err: "at most 4096"},
	"msg:add_result":    {good: `msg:add_result("x-house", "pass", "known");`, want: `continue; add-auth-result x-house=pass reason="known"`, bad: `msg:add_result("x; y", "pass")`, err: "keywords"},
	"msg:add_header":    {good: `msg:add_header("X-B", "c");`, want: "continue; add-header X-B: c", bad: `msg:add_header("X-B: x\r\nX-C", "x")`, err: "not a header field name"},
	"msg:insert_header": {good: `msg:insert_header("X-C", "d");`, want: "continue; insert-header 0 X-C: d", bad: `msg:insert_header("X", ("x"):rep(70000))`, err: "64 KiB"},
	"msg:set_header":    {good: `msg:set_header("X-A", "e");`, want: "continue; set-header X-A: e", bad: `msg:set_header("", "x")`, err: "not a header field name"},
	"msg:remove_header": {good: `msg:remove_header("X-A");`, want: "continue; remove-header X-A", bad: `msg:remove_header("X A")`, err: "not a header field name"},
	"msg:replace_body":  {good: `msg:replace_body("x\r\n");`, want: "continue; replace-body 3 octets", bad: `msg:replace_body(("x"):rep(2e6))`, err: "more than 1 MiB"},
	"msg:set_sender":    {good: `msg:set_sender("") msg:set_sender("a@b");`, want: "continue; set-sender <>; set-sender <a@b>", bad: `msg:set_sender("a@b> SIZE=1")`, err: "not an address"},
	"msg:add_rcpt":      {good: `msg:add_rcpt("c@d");`, want: "continue; add-rcpt <c@d>", bad: `msg:add_rcpt("c@d>\r\nRCPT TO:<e@f")`, err: "not an address"},
	"msg:remove_rcpt":   {good: `msg:remove_rcpt("bob@example.test");`, want: "continue; remove-rcpt <bob@example.test>", bad: `msg:remove_rcpt("")`, err: "not an address"},
	"msg:hold":          {good: `msg:hold("h");`, want: `continue; hold "h"`, bad: `msg:hold({})`, err: "string expected"},
	"msg:quarantine":    {good: `msg:quarantine("q");`, want: `continue; quarantine "q"`, bad: `msg:quarantine()`, err: "string expected"},
	"msg:set_folder":    {good: `msg:set_folder("Junk");`, want: `continue; set-folder "Junk"`, bad: `msg:set_folder("a\0b")`, err: "not a folder's name"},

	"msg:fileinto":  {stage: "deliver", good: `msg:fileinto("A", {"\\Seen", "work"}) msg:fileinto("inbox");`, want: `continue; file-into "A" (\Seen work); file-into "INBOX"`, bad: `msg:fileinto("A", "no flag")`, err: "not a flag"},
	"msg:copy":      {stage: "deliver", good: `msg:copy("B");`, want: `continue; file-into "B" copy`, bad: `msg:copy("a\r\nb")`, err: "not a folder's name"},
	"msg:keep":      {stage: "deliver", good: `msg:keep("\\Seen");`, want: `continue; file-into "INBOX" (\Seen)`, bad: `msg:keep({{}})`, err: "list of strings"},
	"msg:redirect":  {stage: "deliver", good: `msg:redirect("c@d") msg:redirect("e@f", true);`, want: "continue; redirect <c@d>; redirect <e@f> copy", bad: `for i = 1, 9 do msg:redirect("c" .. i .. "@d") end return 1`, err: "more than 5 addresses"},
	"msg:set_flags": {stage: "deliver", good: `msg:set_flags("\\Flagged");`, want: `continue; set-flags (\Flagged)`, bad: `msg:set_flags("a\r\nb")`, err: "not a flag"},
	"msg:vacation":  {stage: "deliver", good: `msg:vacation("I am away", { days = 3, addresses = { "bob@good.test" } });`, want: "continue; respond vacation to <ann@good.test>", bad: `msg:vacation("x", { addresses = 7 })`, err: "list of strings"},
	"msg:pipe":      {good: `select(2, msg:pipe("archive")) .. msg:pipe("archive")`, want: "From7", bad: `msg:pipe("rm -rf /")`, err: "not allowed by the configuration"},

	"dns.lookup":    {good: `dns.lookup("good.test", "mx")[1] .. #dns.lookup("none.test", "A") .. tostring(dns.lookup("down.test", "A"))`, want: "mx.good.test0nil", bad: `dns.lookup("good.test", "ANY")`, err: "not a type"},
	"dns.addresses": {good: `dns.addresses("good.test")[1]`, want: "192.0.2.1", bad: `dns.addresses({})`, err: "string expected"},
	"dns.name":      {good: `dns.name("192.0.2.2") .. dns.name("192.0.2.9")`, want: "mx.good.test", bad: `dns.name("good.test")`, err: "not an IP address"},
	"dns.listed":    {good: `dns.listed("192.0.2.2", "bl.test")[1]`, want: "127.0.0.2", bad: `dns.listed("192.0.2.2", ".")`, err: "a zone wanted"},
	"http.get":      {good: `select(2, http.get("http://api.test/x", { ["X-Key"] = "k" })) .. tostring(http.get("http://evil.test/"))`, want: "GET knil", bad: `http.get("http://api.test/", { ["X-Key"] = "k\r\nHost: evil" })`, err: "not a header"},
	"http.post":     {good: `select(2, http.post("http://api.test/x", "b"))`, want: "POST b", bad: `http.post("http://api.test/", ("x"):rep(2e6))`, err: "a body of more than"},
	"kv.get":        {good: `kv.get("none")`, want: "nil", bad: `kv.get("")`, err: "an empty key"},
	"kv.set":        {good: `(function() kv.set("k", "v", 60) return kv.get("k") end)()`, want: "v", bad: `kv.set("k", ("x"):rep(70000))`, err: "64 KiB"},
	"kv.delete":     {good: `(function() kv.set("k", "") local had = kv.get("k") kv.delete("k") return had .. tostring(kv.get("k")) end)()`, want: "nil", bad: `for i = 1, 200 do kv.delete("k") end return 1`, err: "more than 100 writes"},
	"kv.add":        {good: `kv.add("n") .. kv.add("n", 2, 60)`, want: "13", bad: `kv.add("n", 1e300)`, err: "not a number to count by"},
	"kv.set_add":    {good: `tostring(kv.set_add("s", "a")) .. tostring(kv.set_add("s", "a", 60))`, want: "truefalse", bad: `kv.set_add("s\0t", "a")`, err: "not a name of a set"},
	"kv.set_has":    {good: `(function() kv.set_add("s", ("m"):rep(9999)) return tostring(kv.set_has("s", ("m"):rep(9999))) .. tostring(kv.set_has("s", "x")) end)()`, want: "truefalse", bad: `kv.set_has("", "a")`, err: "not a name of a set"},
	"kv.set_delete": {good: `(function() kv.set_add("s", "a") kv.set_delete("s", "a") return kv.set_has("s", "a") end)()`, want: "false", bad: `kv.set_delete("s")`, err: "string expected"},
	"map.get":       {good: `map.get("vips", "ANN@good.test") .. tostring(map.get("vips", "x"))`, want: "yesnil", bad: `map.get("../../etc/passwd", "x")`, err: "no such table"},
	"map.address":   {good: `map.address("vips", "ann@good.test") .. map.address("vips", "x@a.b.test")`, want: "yestld", bad: `map.address("none", "x@y")`, err: "no such table"},
	"re.match":      {good: `re.match(msg.subject, "Invoice .(\\d+)") .. tostring(re.match("x", "y"))`, want: "42nil", bad: `re.match("x", "(")`, err: "re: missing closing )"},
	"re.find":       {good: `select(2, re.find("abc", "b"))`, want: "2", bad: `re.find("x", ("x"):rep(2000))`, err: "longer than 1000"},
	"re.all":        {good: `table.concat(re.all("a1b22", "[0-9]+"), ",") .. #re.all("aaa", "a", 2)`, want: "1,222", bad: `re.all("x", "x", {})`, err: "number expected"},
	"re.replace":    {good: `re.replace("key=v", "(\\w+)=(\\w+)", "$2=$1")`, want: "v=key", bad: `re.replace(("x"):rep(1e5), ".", ("y"):rep(1e4))`, err: "re: more than"},
	"re.quote":      {good: `re.quote("a.b")`, want: `a\.b`, bad: `re.quote()`, err: "string expected"},
	"json.decode":   {good: `json.decode('{"a":[1,{"b":null}],"c":"x"}').a[1] .. tostring(json.decode("{"))`, want: "1nil", bad: `assert(json.decode(("["):rep(1e5)))`, err: "64 levels"},
	"json.encode":   {good: `json.encode({ a = { 1, 2.5, "x" }, b = true, c = {} })`, want: `{"a":[1,2.5,"x"],"b":true,"c":{}}`, bad: `(function() local t = {} t[1] = t return json.encode(t) end)()`, err: "64 levels"},
	"hash.md5":      {good: `hash.md5("")`, want: "d41d8cd98f00b204e9800998ecf8427e", bad: `hash.md5()`, err: "string expected"},
	"hash.sha1":     {good: `hash.sha1("")`, want: "da39a3ee5e6b4b0d3255bfef95601890afd80709", bad: `hash.sha1({})`, err: "string expected"},
	"hash.sha256":   {good: `hash.sha256(""):sub(1, 8)`, want: "e3b0c442", bad: `hash.sha256(nil)`, err: "string expected"},
	"hash.sha512":   {good: `hash.sha512(""):sub(1, 8)`, want: "cf83e135", bad: `hash.sha512(msg)`, err: "string expected"},
	"hash.hmac":     {good: `hash.hmac("key", "text"):sub(1, 8)`, want: "6afa9046", bad: `hash.hmac("key")`, err: "string expected"},
	"hash.base64":   {good: `hash.base64("abc")`, want: "YWJj", bad: `hash.base64()`, err: "string expected"},
	"hash.unbase64": {good: `hash.unbase64("YW\r\nJj") .. tostring(hash.unbase64("*"))`, want: "abcnil", bad: `hash.unbase64({})`, err: "string expected"},
	"time.now":      {good: `time.now()`, want: "1000000000", bad: `time.now.x.y`, err: "index"},
	"time.format":   {good: `time.format(nil, "%Y-%m-%d %H:%M %%", "Europe/Berlin") .. time.format(0)`, want: "2001-09-09 03:46 %Thu, 01 Jan 1970 00:00:00 +0000", bad: `time.format(0, "%c", "../../etc/passwd")`, err: "not a time zone"},
	"time.parse":    {good: `time.parse("Sun, 09 Sep 2001 01:46:40 +0000") .. time.parse("2001-09-09") .. tostring(time.parse("x"))`, want: "1000000000999993600nil", bad: `time.parse({})`, err: "string expected"},
	"time.table":    {good: `time.table(nil, "Europe/Berlin").hour .. time.table(0).wday`, want: "35", bad: `time.table(0/0)`, err: "not a time"},
	"log.debug":     {good: `log.debug("x");`, want: "continue", bad: `log.debug(setmetatable({}, { __tostring = function() error("no") end }))`, err: "no"},
	"log.info":      {good: `log.info(nil, {}, 1);`, want: "continue", bad: `log.infos("x")`, err: "attempt to index"},
	"log.warn":      {good: `log.warn();`, want: "continue", bad: `log.warn.x.y`, err: "index"},
	"chain":         {good: `chain(msg, function(m) return m.subject == "x" end, function() return true end, error)`, want: "true", bad: `chain(msg, "x")`, err: "function expected"},
}

// deliverView is the View of the recipient at Deliver.
func deliverView(t testing.TB) *pipeline.View {
	t.Helper()
	v := view(t)
	return v.AtRcpt(1, smtp.Address{Local: "bob", Domain: "example.test"})
}

func ask(t *testing.T, stage, body string) (pipeline.Verdict, error) {
	t.Helper()
	if stage == "" {
		stage = "message"
	}
	s, ok := pipeline.ParseStage(stage)
	if !ok {
		t.Fatal(stage)
	}
	p, err := Compile("test.lua", []byte("function "+stage+"(msg)\n"+body+"\nend"))
	if err != nil {
		return pipeline.Verdict{}, err
	}
	v := view(t)
	if s == pipeline.Deliver {
		v = deliverView(t)
	}
	limits := DefaultLimits
	limits.CPU = 5 * time.Minute // other bounds are looked at here, on machines that are busy
	return p.Run(t.Context(), Call{Stage: s, View: v, Host: host(t), Limits: limits})
}

// Every name of the API does what the table says, and takes nonsense for what it is.
func TestAPI(t *testing.T) {
	for _, b := range bindings() {
		name, _, _ := strings.Cut(b.title(), "(")
		u, ok := uses[name]
		if !ok {
			t.Errorf("%s has no test", name)
			continue
		}
		body := "msg:note(tostring(" + u.good + "))"
		if strings.HasSuffix(u.good, ";") {
			body = u.good
		}
		v, err := ask(t, u.stage, body)
		got := v.Note
		if strings.HasSuffix(u.good, ";") {
			got = v.String()
		}
		if err != nil || got != strings.Join(strings.Fields(u.want), " ") && got != u.want {
			t.Errorf("%s: %q, %v; want %q", u.good, got, err, u.want)
		}
		body = "return tostring(" + u.bad + ")"
		if strings.HasSuffix(u.bad, "return 1") {
			body = strings.TrimSuffix(u.bad, "return 1")
		}
		if _, err := ask(t, u.stage, body); err == nil || !strings.Contains(err.Error(), u.err) || !strings.HasPrefix(err.Error(), "test.lua:2:") {
			t.Errorf("%s: %v; want test.lua:2: and %q", u.bad, err, u.err)
		}
	}
	if len(uses) != len(bindings()) {
		t.Errorf("%d uses of %d bindings", len(uses), len(bindings()))
	}
}

// What belongs to one stage is an error at another, by the table.
func TestStages(t *testing.T) {
	for body, want := range map[string]string{
		`msg:fileinto("A")`:           "only at deliver",
		`msg:reject_rcpt("a@b", "x")`: "",
		`msg:vacation("x")`:           "only at deliver",
	} {
		_, err := ask(t, "", body)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", body, err, want)
		}
	}
	for _, c := range []struct{ stage, body string }{{"queued", `msg:reject("x")`}, {"connect", `msg:discard()`}, {"rcpt", `msg:header("X")`}} {
		if _, err := ask(t, c.stage, c.body); err == nil || !strings.Contains(err.Error(), "only at") {
			t.Errorf("%s at %s: %v", c.body, c.stage, err)
		}
	}
}

// A host that has nothing to offer is an error that says what is missing.
func TestBareHost(t *testing.T) {
	for body, want := range map[string]string{
		`dns.lookup("x", "A")`: "no name server", `http.get("http://x/")`: "http_hosts", `kv.get("x")`: "no store",
		`map.get("x", "y")`: "option maps", `msg:pipe("x")`: "commands",
	} {
		_, err := runIn(t, "function message(msg) "+body+" end", pipeline.Message, DefaultLimits, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", body, err, want)
		}
	}
}

// Who gets an answer, and what it is (RFC 3834).
func TestVacation(t *testing.T) {
	script := `function deliver(msg) local sent, why = msg:vacation("Back on Monday.\n", { subject = "Fort", days = 1, addresses = { "bob@good.test" } }) msg:note(why or "sent") end`
	p, err := Compile("away.lua", []byte(script))
	if err != nil {
		t.Fatal(err)
	}
	h := host(t)
	run := func(sender, header string) (string, []pipeline.Modification) {
		t.Helper()
		m, err := message.Parse(message.FromBytes([]byte(header + "\r\nx\r\n")))
		if err != nil {
			t.Fatal(err)
		}
		from, _ := smtp.ParseAddress(sender)
		v := pipeline.NewView(pipeline.Client{Hostname: "mx.example.test"}, pipeline.Mailing{Sender: from, Rcpts: []pipeline.Recipient{{ID: 1, Addr: smtp.Address{Local: "bob", Domain: "example.test"}}}}, m)
		out, err := p.Run(t.Context(), Call{Stage: pipeline.Deliver, View: v.AtRcpt(1, smtp.Address{Local: "bob", Domain: "example.test"}), Host: h, Limits: DefaultLimits})
		if err != nil {
			t.Fatal(err)
		}
		return out.Note, out.Mods
	}
	for _, c := range []struct{ sender, header, want string }{
		{"", "To: bob@example.test\r\n", "there is nobody to answer"},
		{"a@x.test", "To: list@x.test\r\n", "it is not addressed to this account"},
		{"a@x.test", "To: bob@example.test\r\nList-Id: <x>\r\n", "it came by a list"},
		{"a@x.test", "To: bob@example.test\r\nAuto-Submitted: auto-generated\r\n", "it is an automatic answer itself"},
		{"a@x.test", "To: bob@example.test\r\nPrecedence: bulk\r\n", "it is bulk mail"},
		{"MAILER-DAEMON@x.test", "To: bob@example.test\r\n", "the sender is no person"},
		{"dev-request@x.test", "To: bob@example.test\r\n", "the sender is no person"},
		{"bob@good.test", "To: bob@example.test\r\n", "it is one's own"},
		{"a@x.test", "Cc: Bob <BOB@good.test>\r\nMessage-ID: <1@x.test>\r\nAuto-Submitted: no\r\n", "sent"},
		{"a@x.test", "To: bob@example.test\r\n", "the sender had this answer already"},
		{"b@x.test", "To: bob@example.test\r\n", "sent"},
	} {
		note, mods := run(c.sender, c.header)
		if note != c.want || (note == "sent") != (len(mods) == 1) {
			t.Errorf("%s, %q: %q, %v; want %q", c.sender, c.header, note, mods, c.want)
		}
	}
	_, mods := run("c@x.test", "To: bob@example.test\r\nMessage-ID: <7@x.test>\r\n")
	got := string(mods[0].(pipeline.Respond).Data)
	for _, want := range []string{"From: <bob@example.test>\r\n", "To: <c@x.test>\r\n", "Subject: Fort\r\n", "Auto-Submitted: auto-replied (vacation)\r\n", "In-Reply-To: <7@x.test>\r\n", "\r\n\r\nBack on Monday.\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
