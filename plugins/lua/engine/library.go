package engine

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"mtad/dns"
	"mtad/message"
	"mtad/pipeline"
)

// libraries are what does not speak of the message.
var libraries = []binding{
	{lib: "dns", name: "lookup", args: "name, type", doc: "what a name has of a type (A, AAAA, MX, TXT, PTR, NS, CNAME, TLSA): a list of strings, empty if there is nothing; MX in the order of preference. nil and why if no server answers", call: dnsLookup},
	{lib: "dns", name: "addresses", args: "name", doc: "the addresses of a name, IPv4 and IPv6, as lookup gives them", call: dnsAddresses},
	{lib: "dns", name: "name", args: "address", doc: "the name of an address that leads back to it, \"\" if there is none", call: dnsName},
	{lib: "dns", name: "listed", args: "address or name, zone", doc: "what a DNS list says: a list of its addresses, empty if it is not listed", call: dnsListed},
	{lib: "http", name: "get", args: "url [, header]", doc: "what a host of the option `http_hosts` answers: status, body (at most 1 MiB), content type; nil and why if nothing does. header is a table; redirections are not followed", facts: writes(pipeline.Effects), call: func(L *lua.LState, c *call) int { return fetch(L, c, "GET", 2) }},
	{lib: "http", name: "post", args: "url, body [, header]", doc: "the same for a body that is sent there", facts: writes(pipeline.Effects), call: func(L *lua.LState, c *call) int { return fetch(L, c, "POST", 3) }},
	{lib: "kv", name: "get", args: "key", doc: "the value of a key, or nil; a counter is its digits", facts: reads(pipeline.Effects), call: kvGet},
	{lib: "kv", name: "set", args: "key, value [, seconds]", doc: "keep a value of at most 64 KiB, for so long if it is said", facts: writes(pipeline.Effects), call: kvSet},
	{lib: "kv", name: "delete", args: "key", doc: "forget it", facts: writes(pipeline.Effects), call: kvDelete},
	{lib: "kv", name: "add", args: "key [, n [, seconds]]", doc: "add n (1) to a counter and return the sum; it begins at 0, and anew when the seconds since its beginning are over", facts: writes(pipeline.Effects), call: kvAdd},
	{lib: "kv", name: "set_add", args: "set, member [, seconds]", doc: "put a member into a set, for so long if it is said; whether it is new there", facts: writes(pipeline.Effects), call: kvSetAdd},
	{lib: "kv", name: "set_has", args: "set, member", doc: "whether a set has the member", facts: reads(pipeline.Effects), call: kvSetHas},
	{lib: "kv", name: "set_delete", args: "set, member", doc: "take a member out of a set", facts: writes(pipeline.Effects), call: kvSetDelete},
	{lib: "map", name: "get", args: "table, key", doc: "the value of a key in a table of the option `maps`, or nil; the key is compared without regard to case", call: mapGet},
	{lib: "map", name: "address", args: "table, address", doc: "the value for an address, its domain, or a parent of that (\".example.org\"), the first that is there; or nil", call: mapAddress},
	{lib: "re", name: "match", args: "text, expression", doc: "the captures of the first match, the whole match if there are none, nil if nothing matches. Expressions are RE2, of at most 1000 octets", call: reMatch},
	{lib: "re", name: "find", args: "text, expression", doc: "where the first match begins and ends, counted from 1; or nil", call: reFind},
	{lib: "re", name: "all", args: "text, expression [, limit]", doc: "a list of all matches (at most limit, 1000), of their first capture if there is one", call: reAll},
	{lib: "re", name: "replace", args: "text, expression, replacement", doc: "the text with every match replaced; $1 is the first capture", call: reReplace},
	{lib: "re", name: "quote", args: "text", doc: "an expression that matches just this text", call: reQuote},
	{lib: "json", name: "decode", args: "text", doc: "the value, at most 1 MiB of text and 64 levels; null is nil. nil and why if it is no JSON", call: jsonDecode},
	{lib: "json", name: "encode", args: "value", doc: "its JSON, at most 1 MiB and 64 levels; a table with the keys 1 to n is an array, an empty one an object", call: jsonEncode},
	{lib: "hash", name: "md5", args: "text", doc: "in hexadecimal", call: digest(md5.New)},
	{lib: "hash", name: "sha1", args: "text", doc: "in hexadecimal", call: digest(sha1.New)},
	{lib: "hash", name: "sha256", args: "text", doc: "in hexadecimal", call: digest(sha256.New)},
	{lib: "hash", name: "sha512", args: "text", doc: "in hexadecimal", call: digest(sha512.New)},
	{lib: "hash", name: "hmac", args: "key, text", doc: "HMAC-SHA-256 in hexadecimal", call: hmacDigest},
	{lib: "hash", name: "base64", args: "text", doc: "its base64", call: base64Encode},
	{lib: "hash", name: "unbase64", args: "text", doc: "what is in it, or nil", call: base64Decode},
	{lib: "time", name: "now", doc: "seconds since 1970, with a fraction", call: timeNow},
	{lib: "time", name: "format", args: "[seconds [, format [, zone]]]", doc: "a time, now by default, as strftime writes it (%Y %m %d %H %M %S %a %A %b %B %j %y %p %z %Z %%; %c, the default, as a Date field has it), in a zone such as \"Europe/Berlin\" (UTC)", call: timeFormat},
	{lib: "time", name: "parse", args: "text", doc: "the seconds of a Date field, or of 2006-01-02T15:04:05Z and 2006-01-02; nil if it is neither", call: timeParse},
	{lib: "time", name: "table", args: "[seconds [, zone]]", doc: "a table: year, month, day, hour, min, sec, wday (1 is Sunday), yday", call: timeTable},
	{lib: "log", name: "debug", args: "...", doc: "write a line of the values to the server's log", call: logAt(slog.LevelDebug)},
	{lib: "log", name: "info", args: "...", doc: "the same, at another level", call: logAt(slog.LevelInfo)},
	{lib: "log", name: "warn", args: "...", doc: "the same, at another level", call: logAt(slog.LevelWarn)},
	{name: "chain", args: "msg, recipe, ...", doc: "call each recipe, a function, with the message until one returns true: that one has dealt with it, as a procmail recipe without `c` has. Returns whether one did", call: chain},
}

// failed is the pair with which a function says that it found nothing out.
func failed(L *lua.LState, err error) int {
	L.Push(lua.LNil)
	L.Push(text(fmt.Sprintf("%.300s", err)))
	return 2
}

var dnsTypes = map[string]dns.Type{
	"A": dns.A, "AAAA": dns.AAAA, "MX": dns.MX, "TXT": dns.TXT, "PTR": dns.PTR, "NS": dns.NS, "CNAME": dns.CNAME, "TLSA": dns.TLSA,
}

// lookup asks with the clock standing. No such name is no error.
func (c *call) lookup(L *lua.LState, name string, typ dns.Type) (out []string, err error) {
	if c.Host.DNS == nil {
		L.RaiseError("dns: there is no name server here")
	}
	var a dns.Answer
	c.outside(L, reachDNS, func(ctx context.Context) { a, err = c.Host.DNS.Lookup(ctx, name, typ) })
	if err != nil && !dns.NotFound(err) {
		return nil, err
	}
	for _, r := range a.Records {
		out = append(out, r.Text)
	}
	return out, nil
}

func list(L *lua.LState, values []string) int {
	t := L.CreateTable(len(values), 0)
	for _, s := range values {
		t.Append(text(s))
	}
	L.Push(t)
	return 1
}

func dnsLookup(L *lua.LState, c *call) int {
	name := L.CheckString(1)
	typ, ok := dnsTypes[strings.ToUpper(L.CheckString(2))]
	if !ok {
		L.ArgError(2, "not a type that can be asked for: "+oneLine(L.CheckString(2)))
	}
	out, err := c.lookup(L, name, typ)
	if err != nil {
		return failed(L, err)
	}
	return list(L, out)
}

func dnsAddresses(L *lua.LState, c *call) int {
	name := L.CheckString(1)
	out, err := c.lookup(L, name, dns.A)
	if err == nil {
		var more []string
		more, err = c.lookup(L, name, dns.AAAA)
		out = append(out, more...)
	}
	if err != nil {
		return failed(L, err)
	}
	return list(L, out)
}

func dnsName(L *lua.LState, c *call) int {
	a, err := netip.ParseAddr(L.CheckString(1))
	if err != nil {
		L.ArgError(1, "not an IP address: "+oneLine(L.CheckString(1)))
	}
	if c.Host.DNS == nil {
		L.RaiseError("dns: there is no name server here")
	}
	var name string
	var temporary bool
	c.outside(L, reachDNS, func(ctx context.Context) { name, _, temporary = dns.HostName(ctx, c.Host.DNS, a) })
	if temporary && name == "" {
		return failed(L, dns.ErrTemporary)
	}
	L.Push(text(name))
	return 1
}

func dnsListed(L *lua.LState, c *call) int {
	what, zone := L.CheckString(1), strings.Trim(L.CheckString(2), ".")
	if zone == "" {
		L.ArgError(2, "a zone wanted")
	}
	name := what + "." + zone
	if a, err := netip.ParseAddr(what); err == nil {
		name = dns.ReverseName(a, zone)
	}
	out, err := c.lookup(L, name, dns.A)
	if err != nil {
		return failed(L, err)
	}
	return list(L, out)
}

// maxHeaders is how many fields a request has besides its own.
const maxHeaders = 20

func fetch(L *lua.LState, c *call, method string, header int) int {
	r := Request{Method: method, URL: L.CheckString(1), Header: map[string]string{}}
	if method == "POST" {
		r.Body = L.CheckString(2)
	}
	if len(r.URL) > maxURL || len(r.Body) > MaxFetch {
		L.RaiseError("http: an address of more than %d octets, or a body of more than %d", maxURL, MaxFetch)
	}
	if t := L.OptTable(header, nil); t != nil {
		t.ForEach(func(k, v lua.LValue) {
			name, value := k.String(), v.String()
			if len(r.Header) >= maxHeaders || !message.ValidFieldName(name) || len(value) > maxURL || strings.ContainsAny(value, "\r\n\x00") {
				L.ArgError(header, "not a header that can be sent: "+oneLine(name))
			}
			r.Header[name] = value
		})
	}
	if c.Host.Fetch == nil {
		L.RaiseError("http: the option `http_hosts` names no hosts")
	}
	var out Response
	var err error
	c.outside(L, reachHTTP, func(ctx context.Context) { out, err = c.Host.Fetch(ctx, r) })
	if err != nil {
		return failed(L, err)
	}
	L.Push(lua.LNumber(out.Status))
	L.Push(text(out.Body))
	L.Push(text(out.Type))
	return 3
}

// Bounds of state.
const (
	maxKey   = 512
	maxValue = 64 << 10
)

// key reads a key. One that is too long for the store is kept by its digest.
func key(L *lua.LState, n int) string {
	k := L.CheckString(n)
	if k == "" {
		L.ArgError(n, "an empty key")
	}
	return shortKey("k", k)
}

func shortKey(kind string, names ...string) string {
	k := kind + strings.Join(names, "\x00")
	if len(k) <= maxKey-100 {
		return k
	}
	sum := sha256.Sum256([]byte(k))
	return kind + "\x00" + hex.EncodeToString(sum[:])
}

func member(L *lua.LState) string {
	set, m := L.CheckString(1), L.CheckString(2)
	if set == "" || strings.Contains(set, "\x00") {
		L.ArgError(1, "not a name of a set")
	}
	return shortKey("s", set, m)
}

// maxSeconds is as long as state may be asked to live: ten years.
const maxSeconds = 10 * 366 * 86400

func ttl(L *lua.LState, n int) time.Duration {
	s := float64(L.OptNumber(n, 0))
	if s < 0 || s > maxSeconds || s != s {
		L.ArgError(n, "not a number of seconds up to ten years")
	}
	return time.Duration(s * float64(time.Second))
}

// store does something with the KV, the clock standing.
func (c *call) store(L *lua.LState, way reach, f func(ctx context.Context, kv pipeline.KV) error) {
	if c.Host.KV == nil {
		L.RaiseError("kv: there is no store here")
	}
	var err error
	c.outside(L, way, func(ctx context.Context) { err = f(ctx, c.Host.KV) })
	if err != nil {
		L.RaiseError("kv: %v", err)
	}
}

// kvValue reads a key; the value's first octet tells what it is.
func (c *call) kvValue(L *lua.LState, k string) (value []byte, ok bool) {
	c.store(L, reachRead, func(ctx context.Context, kv pipeline.KV) (err error) {
		value, ok, err = kv.Get(ctx, k)
		return err
	})
	return value, ok && len(value) > 0
}

// Values are kept behind this octet, so that an empty one is told from none.
const valueMark = '='

func kvGet(L *lua.LState, c *call) int {
	value, ok := c.kvValue(L, key(L, 1))
	switch {
	case !ok:
		L.Push(lua.LNil)
	case value[0] == valueMark:
		L.Push(text(string(value[1:])))
	default:
		L.Push(text(string(value)))
	}
	return 1
}

func kvSet(L *lua.LState, c *call) int {
	k, v, d := key(L, 1), L.CheckString(2), ttl(L, 3)
	if len(v) >= maxValue {
		L.ArgError(2, "a value of 64 KiB or more")
	}
	c.put(L, k, string(valueMark)+v, d)
	return 0
}

func (c *call) put(L *lua.LState, k, v string, d time.Duration) {
	c.store(L, reachWrite, func(ctx context.Context, kv pipeline.KV) error { return kv.Set(ctx, k, []byte(v), d) })
}

// forget writes nothing for a moment: a KV has no other way.
func (c *call) forget(L *lua.LState, k string) { c.put(L, k, "", time.Millisecond) }

func kvDelete(L *lua.LState, c *call) int {
	c.forget(L, key(L, 1))
	return 0
}

func (c *call) add(L *lua.LState, k string, n int64, d time.Duration) (sum int64) {
	c.store(L, reachWrite, func(ctx context.Context, kv pipeline.KV) (err error) {
		sum, err = kv.Add(ctx, k, n, d)
		return err
	})
	return sum
}

func kvAdd(L *lua.LState, c *call) int {
	n := float64(L.OptNumber(2, 1))
	if n != n || n > 1<<40 || n < -1<<40 {
		L.ArgError(2, "not a number to count by")
	}
	L.Push(lua.LNumber(c.add(L, key(L, 1), int64(n), ttl(L, 3))))
	return 1
}

func kvSetAdd(L *lua.LState, c *call) int {
	k, d := member(L), ttl(L, 3)
	_, had := c.kvValue(L, k)
	c.put(L, k, string(valueMark), d)
	L.Push(lua.LBool(!had))
	return 1
}

func kvSetHas(L *lua.LState, c *call) int {
	_, ok := c.kvValue(L, member(L))
	L.Push(lua.LBool(ok))
	return 1
}

func kvSetDelete(L *lua.LState, c *call) int {
	c.forget(L, member(L))
	return 0
}

// row asks a table, the clock standing. A table that is not there is an error.
func (c *call) row(L *lua.LState, table, key string) (value string, ok bool) {
	if c.Host.Map == nil {
		L.RaiseError("map: %s: %v", oneLine(table), ErrNoTable)
	}
	var err error
	c.outside(L, reachMap, func(ctx context.Context) { value, ok, err = c.Host.Map(ctx, table, strings.ToLower(key)) })
	if err != nil {
		L.RaiseError("map: %s: %v", oneLine(table), err)
	}
	return value, ok
}

func mapGet(L *lua.LState, c *call) int {
	return found(L)(c.row(L, L.CheckString(1), L.CheckString(2)))
}

func found(L *lua.LState) func(string, bool) int {
	return func(value string, ok bool) int {
		if ok {
			L.Push(text(value))
		} else {
			L.Push(lua.LNil)
		}
		return 1
	}
}

// maxParents bounds the look-ups for one address.
const maxParents = 10

func mapAddress(L *lua.LState, c *call) int {
	table, who := L.CheckString(1), L.CheckString(2)
	keys := []string{who}
	if i := strings.LastIndexByte(who, '@'); i >= 0 {
		who = who[i+1:]
		keys = append(keys, who)
	}
	for range maxParents {
		_, parent, ok := strings.Cut(who, ".")
		if !ok {
			break
		}
		keys, who = append(keys, "."+parent), parent
	}
	for _, k := range keys {
		if value, ok := c.row(L, table, k); ok {
			return found(L)(value, true)
		}
	}
	return found(L)("", false)
}

func digest(h func() hash.Hash) func(*lua.LState, *call) int {
	return func(L *lua.LState, _ *call) int {
		d := h()
		d.Write([]byte(L.CheckString(1)))
		L.Push(text(hex.EncodeToString(d.Sum(nil))))
		return 1
	}
}

func hmacDigest(L *lua.LState, _ *call) int {
	d := hmac.New(sha256.New, []byte(L.CheckString(1)))
	d.Write([]byte(L.CheckString(2)))
	L.Push(text(hex.EncodeToString(d.Sum(nil))))
	return 1
}

func base64Encode(L *lua.LState, _ *call) int {
	L.Push(text(base64.StdEncoding.EncodeToString([]byte(L.CheckString(1)))))
	return 1
}

func base64Decode(L *lua.LState, _ *call) int {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(L.CheckString(1)), ""))
	return found(L)(string(b), err == nil)
}

// logAt writes lines that name the message.
func logAt(level slog.Level) func(*lua.LState, *call) int {
	return func(L *lua.LState, c *call) int {
		var b strings.Builder
		for i := 1; i <= L.GetTop() && b.Len() < 1000; i++ {
			if i > 1 {
				b.WriteByte(' ')
			}
			b.WriteString(fmt.Sprintf("%.1000s", L.ToStringMeta(L.Get(i)).String()))
		}
		if c.Host != nil {
			c.Host.log(level, fmt.Sprintf("%.1000s", b.String()))
		}
		return 0
	}
}

func chain(L *lua.LState, _ *call) int {
	msg := L.CheckUserData(1)
	for i := 2; i <= L.GetTop(); i++ {
		L.Push(L.CheckFunction(i))
		L.Push(msg)
		L.Call(1, 1)
		done := L.ToBool(-1)
		L.Pop(1)
		if done {
			L.Push(lua.LTrue)
			return 1
		}
	}
	L.Push(lua.LFalse)
	return 1
}
